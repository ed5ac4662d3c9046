"""Between plain code and asyncio: what the call of an asynchronous flow or task gives."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from flowspan.core.async_dispatch import running_loop
from flowspan.core.call_graph import current_or_sketched_run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator


def current_asyncio_task() -> object:
    """The asyncio task that the code runs in, or None. Does not import asyncio."""
    loop = running_loop()
    if loop is None:
        return None
    from asyncio import current_task  # noqa: PLC0415 - imported already by whoever runs the loop

    return current_task()


def call_async_generator(values: AsyncGenerator[Any, Any]) -> Any:
    """The asynchronous generator; or, where nobody could await it, a plain one of its values."""
    return values if _can_be_awaited() else _iterate_here(values)


def _can_be_awaited() -> bool:
    """Whether the code that runs here may be a coroutine's."""
    return current_or_sketched_run() is None or can_await()


def _iterate_here(values: AsyncGenerator[Any, Any]) -> Generator[Any, Any, None]:
    """Gives the values of an asynchronous generator, which runs on a loop of its own."""
    import asyncio  # noqa: PLC0415 - most programs have no use for it
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - likewise

    with ExitStack() as stack:
        runner = asyncio.Runner()
        if running_loop() is None:
            run = runner.run
            stack.callback(runner.close)
        else:  # A thread has room for one loop that runs.
            thread = stack.enter_context(ThreadPoolExecutor(1, "flowspan-async"))
            stack.callback(lambda: thread.submit(runner.close).result())

            def run(coroutine: Coroutine[Any, Any, Any]) -> Any:  # type: ignore[misc] # the same
                return thread.submit(copy_context().run, runner.run, coroutine).result()

        stack.callback(lambda: run(_boxed(values.aclose())).opened())
        awaitable = values.asend(None)
        while True:
            try:
                value = run(_boxed(awaitable)).opened()
            except StopAsyncIteration:
                return
            try:
                awaitable = values.asend((yield value))
            except GeneratorExit:
                raise
            except BaseException as thrown:  # noqa: BLE001 - it is the body's
                awaitable = values.athrow(thrown)


def can_await() -> bool:
    """Whether the caller is in a coroutine, and so can await what it is given."""
    loop = running_loop()
    if loop is None:
        return False
    run = current_or_sketched_run()
    return run is None or run.definition.is_async or run.loop is not loop


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine to its end, on a loop of its own; blocks the calling thread."""
    if running_loop() is not None:
        return _run_in_thread(coroutine)
    import asyncio  # noqa: PLC0415 - most programs have no use for it

    return asyncio.run(_boxed(coroutine)).opened()


class _Box:
    """Hides from asyncio what a coroutine returned or raised.

    In some versions of Python `asyncio.run` asks its task for its `repr`, and that the result for
    its own, which loads a lazy collection and takes long for a large table. And an exception whose
    `__class__` raises stops its loop from ever ending.
    """

    __slots__ = ("error", "value")

    def __init__(self, value: Any, error: Exception | None) -> None:
        self.value = value
        self.error = error

    def opened(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


async def _boxed(awaitable: Awaitable[Any]) -> _Box:
    try:
        return _Box(await awaitable, None)
    except Exception as error:  # noqa: BLE001 - raised again outside of the loop
        return _Box(None, error)


def _run_in_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    import asyncio  # noqa: PLC0415 - most programs have no use for it

    outcome: list[Any] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(asyncio.run(_boxed(coroutine)).opened())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=copy_context().run, args=(work,), name="flowspan-async")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
