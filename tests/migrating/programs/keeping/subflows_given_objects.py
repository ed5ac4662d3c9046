"""A retried flow keeps subflows that were given a connection, and what their states said."""

import asyncio
import dataclasses
import threading

from prefect import flow, task
from prefect.states import Completed

ran = []
attempts = []


class Client:
    def __init__(self):
        self.lock = threading.Lock()


@dataclasses.dataclass
class Order:
    client: object
    number: int


@flow(persist_result=True, validate_parameters=False)
def charge(client, card, *others):
    ran.append(card)
    return card


@flow(persist_result=True, validate_parameters=False)
async def charge_later(client, card):
    ran.append(f"later {card}")
    return card


@flow(persist_result=True, validate_parameters=False)
def ship(order):
    ran.append(f"ship {order.number}")
    return order.number


@flow(persist_result=True)
def skipped():
    ran.append("skipped")
    return Completed(name="Skipped", message="nothing to do", data=3)


def fails_at_first():
    attempts.append(1)
    if len(attempts) == 1:
        raise ValueError("again")


@task
def charges(card):
    return charge(Client(), card)


@flow(retries=1, persist_result=True)
def main():
    client = Client()
    found = [charge(client, card) for card in (1, 2, 2)], charge(Client(), 3, Client())
    found += ([ship(Order(threading.Lock(), number)) for number in range(3)],)
    found += (charges.map([7]).result(),)
    lock = threading.Lock()

    @flow(persist_result=True)
    def inside():
        with lock:
            ran.append("inside")
        return "inside"

    state, other = skipped(return_state=True), charge(client, 4, return_state=True)
    print(*found, inside(), state.name, state.message, state.result(), other.name)
    fails_at_first()


@flow(retries=1, persist_result=True)
async def main_later():
    client = Client()
    print(await asyncio.gather(*(charge_later(client, card) for card in range(3))))
    fails_at_first()


main()
print(*ran, sep="\n")
ran.clear()
attempts.clear()
asyncio.run(main_later())
print(*sorted(ran), sep="\n")

# prints: [1, 2, 2] 3 [0, 1, 2] [7] inside Skipped nothing to do 3 Completed
# prints: [1, 2, 2] 3 [0, 1, 2] [7] inside Skipped nothing to do 3 Completed
# prints: 1
# prints: 2
# prints: 2
# prints: 3
# prints: ship 0
# prints: ship 1
# prints: ship 2
# prints: 7
# prints: skipped
# prints: 4
# prints: inside
# prints: [0, 1, 2]
# prints: [0, 1, 2]
# prints: later 0
# prints: later 1
# prints: later 2
