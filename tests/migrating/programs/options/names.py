"""Names that programs import from Prefect's modules, and what they mean."""

import asyncio

from prefect import Flow, State, Task, flow, get_client, get_run_logger, task, unmapped
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.client.schemas import FlowRun, StateType, TaskRun
from prefect.client.schemas.objects import State as SameState
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.exceptions import ConfigurationError, InvalidNameError, PrefectException
from prefect.exceptions import MissingContextError, PrefectSignal
from prefect.futures import PrefectFuture, PrefectFutureList, resolve_futures_to_states
from prefect.logging.loggers import get_logger, get_run_logger as same_get_run_logger
from prefect.types import NonNegativeInteger, PositiveInteger
from prefect.utilities.annotations import NotSet, quote
from prefect.utilities.asyncutils import gather, is_async_fn, run_coro_as_sync
from prefect.utilities.asyncutils import run_sync_in_worker_thread
from prefect.utilities.hashing import file_hash, hash_objects

print(SameState is State, len(TERMINAL_STATES), same_get_run_logger is get_run_logger)
print(issubclass(ConfigurationError, PrefectException), issubclass(PrefectException, Exception))
print(issubclass(InvalidNameError, PrefectException), issubclass(InvalidNameError, ValueError))
print(issubclass(PrefectSignal, BaseException), issubclass(PrefectSignal, Exception))


def alert(flow: Flow, flow_run: FlowRun, state: State) -> None:
    print("alert", state.name)


@task
def load(x: int) -> int:
    return x


async def later(x: int = 1) -> int:
    return x


@flow(on_completion=[alert])
def main(n: PositiveInteger = 2, m: NonNegativeInteger = 0):
    future = load.submit(n)
    futures = load.map([1, 2])
    print(isinstance(future, PrefectFuture), isinstance(futures, PrefectFutureList))
    print([state.name for state in resolve_futures_to_states([future, *futures])])
    print(run_coro_as_sync(later(7)))
    return future.result()


print(main())
try:
    main(0)
except PrefectException as error:
    print("refused")
print(is_async_fn(later), is_async_fn(alert))
print(asyncio.run(gather(later, later)))
print(asyncio.run(run_sync_in_worker_thread(max, 1, 2)))
print(hash_objects(1, a=2) == hash_objects(1, a=2), hash_objects(1) == hash_objects(2))
print(len(file_hash(__file__)), quote(1).unquote())

# prints: True 4 True
# prints: True True
# prints: True True
# prints: True False
# prints: True True
# prints: ['Completed', 'Completed', 'Completed']
# prints: 7
# prints: alert Completed
# prints: 2
# prints: refused
# prints: True False
# prints: [1, 1]
# prints: 2
# prints: True False
# prints: 32 1
