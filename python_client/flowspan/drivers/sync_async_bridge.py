"""The sync/async bridge: runs async code to completion where the caller cannot await it."""

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
    """Return the asyncio task of the calling code, or None. Does not import asyncio."""
    loop = running_loop()
    if loop is None:
        return None
    from asyncio import current_task  # noqa: PLC0415 - already imported if a loop runs

    return current_task()


def call_async_generator(values: AsyncGenerator[Any, Any]) -> Any:
    """Return the async generator, or a plain generator of its values where it cannot be awaited."""
    return values if _can_be_awaited() else _iterate_here(values)


def _can_be_awaited() -> bool:
    """Return True if the calling code may belong to a coroutine."""
    return current_or_sketched_run() is None or can_await()


def _iterate_here(values: AsyncGenerator[Any, Any]) -> Generator[Any, Any, None]:
    """Yield the values of an async generator, which runs on a separate event loop."""
    import asyncio  # noqa: PLC0415 - most programs do not need it
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most do not need it

    with ExitStack() as stack:
        runner = asyncio.Runner()
        if running_loop() is None:
            run = runner.run
            stack.callback(runner.close)
        else:  # A thread can run only one loop at a time.
            thread = stack.enter_context(ThreadPoolExecutor(1, "flowspan-async"))
            stack.callback(lambda: thread.submit(runner.close).result())

            def run(coroutine: Coroutine[Any, Any, Any]) -> Any:  # type: ignore[misc] # same signature
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
            except BaseException as thrown:  # noqa: BLE001 - raised by the loop body
                awaitable = values.athrow(thrown)


def can_await() -> bool:
    """Return True if the caller is a coroutine and can await a result."""
    loop = running_loop()
    if loop is None:
        return False
    run = current_or_sketched_run()
    return run is None or run.definition.is_async or run.loop is not loop


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to completion on a separate event loop; blocks the calling thread."""
    if running_loop() is not None:
        return _run_in_thread(coroutine)
    import asyncio  # noqa: PLC0415 - most programs do not need it

    return asyncio.run(_boxed(coroutine)).opened()


class _Box:
    """A box that hides a coroutine's result or error from asyncio.

    In some Python versions `asyncio.run` calls the `repr` of its task, which includes the `repr` of
    the result. That would load a lazy collection, and is slow for a large table. An exception whose
    `__class__` raises would keep the loop from ending.
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
    except Exception as error:  # noqa: BLE001 - raised again outside the loop
        return _Box(None, error)


def _run_in_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    import asyncio  # noqa: PLC0415 - most programs do not need it

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
