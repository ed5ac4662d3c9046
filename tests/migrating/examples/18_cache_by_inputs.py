"""Spend the expensive call once for the same input: task_input_hash and INPUTS."""

from collections import Counter
from datetime import timedelta

from prefect import flow, task
from prefect.cache_policies import INPUTS
from prefect.tasks import task_input_hash

CALLS: Counter = Counter()


@task(cache_key_fn=task_input_hash, cache_expiration=timedelta(hours=1))
def geocode(address: str) -> tuple[int, int]:
    CALLS["geocode"] += 1
    return len(address), address.count(" ")


@task(cache_policy=INPUTS, persist_result=True)
def embed(text: str, model: str = "small") -> list[float]:
    CALLS["embed"] += 1
    return [float(len(word)) for word in text.split()]


@task(cache_policy=INPUTS, refresh_cache=True)
def always_new(x: int) -> int:
    CALLS["always_new"] += 1
    return x


@task(cache_key_fn=lambda context, parameters: parameters["url"].split("?")[0])
def download(url: str) -> str:
    CALLS["download"] += 1
    return f"contents of {url}"


def by_day(context, parameters) -> str:
    return f"{context.task.name}-{parameters['day']}"


@task(cache_key_fn=by_day, cache_expiration=timedelta(seconds=-1))
def expired(day: str) -> int:
    CALLS["expired"] += 1
    return CALLS["expired"]


@flow
def enrich(addresses: list[str]):
    places = [geocode(address) for address in addresses]
    states = [geocode(address, return_state=True) for address in addresses]
    print([state.name for state in states])
    return places


@flow
def others():
    print(embed("a bc def"), embed("a bc def", model="small"), embed("a bc def", model="large"))
    print(always_new(1), always_new(1))
    print(download("http://x/a?session=1"), "|", download("http://x/a?session=2"))
    print(expired("monday"), expired("monday"))
    state = embed("a bc def", return_state=True)
    print(state.name, state.type.value, state.is_completed())


print(enrich(["1 Main Street", "2 Hill", "1 Main Street"]))
print(enrich(["2 Hill"]))
others()
print(sorted(CALLS.items()))

# prints: ['Cached', 'Cached', 'Cached']
# prints: [(13, 2), (6, 1), (13, 2)]
# prints: ['Cached']
# prints: [(6, 1)]
# prints: [1.0, 2.0, 3.0] [1.0, 2.0, 3.0] [1.0, 2.0, 3.0]
# prints: 1 1
# prints: contents of http://x/a?session=1 | contents of http://x/a?session=1
# prints: 1 2
# prints: Cached COMPLETED True
# prints: [('always_new', 2), ('download', 1), ('embed', 2), ('expired', 2), ('geocode', 2)]
