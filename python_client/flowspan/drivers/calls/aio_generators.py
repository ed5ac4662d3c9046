"""The driver for asynchronous generators; the twin of `flowspan.drivers.calls.generators`."""

from __future__ import annotations

import functools
import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from flowspan import clock
from flowspan.core.pickling import mark_as_made
from flowspan.core.run import current_run, is_outermost
from flowspan.core.steps import RUN_FUNCTION
from flowspan.core.values.inspection import is_instance
from flowspan.drivers.calls.aio import (
    finish_attempt,
    flush_in_thread,
    interruptible,
    resolved,
    runner_done,
    within,
)
from flowspan.drivers.calls.aio_cancellation import as_cancel, passed_on
from flowspan.drivers.calls.attempt import cancel_with
from flowspan.drivers.calls.generators import BaseIteration
from flowspan.drivers.futures.arguments import given_upstream
from flowspan.drivers.perform_async import perform, perform_closed
from flowspan.drivers.process import process_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator
    from contextvars import Context

    from flowspan.core.states import State


async def iterate(
    definition: Any, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Iterable[Any] | None
) -> AsyncGenerator[Any, Any]:
    """Runs a flow or task whose function is an asynchronous generator function.

    Args:
        definition: The flow or task.
        args: The positional arguments.
        kwargs: The keyword arguments.
        wait_for: Futures that are to complete before.

    Yields:
        What the function yields.
    """
    parent = current_run.get()
    process = process_of(parent)
    inputs = args, kwargs, given_upstream(wait_for)
    iteration = AsyncIteration(process, definition, inputs, await resolved(*inputs))
    try:
        with iteration.cancellable():
            while await iteration.advance():
                try:
                    iteration.answer(sent=(yield iteration.value))
                except GeneratorExit:
                    await iteration.close()
                    raise
                except BaseException as thrown:  # noqa: BLE001 - it is the body's
                    iteration.answer(thrown=thrown)
    finally:
        iteration.end()
    if is_outermost(parent):
        await flush_in_thread(process)
    passed_on(iteration.state).outcome()


def collecting(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function that gives all values of an asynchronous generator function as a list."""

    @functools.wraps(fn)
    async def collect(*args: Any, **kwargs: Any) -> list[Any]:
        return [value async for value in fn(*args, **kwargs)]

    mark_as_made(collect, collecting, fn)
    return collect


class AsyncIteration(BaseIteration):
    """A run of an asynchronous generator function on its way."""

    async def advance(self) -> bool:
        """Goes on to the next value; False once the run has ended.

        Raises:
            GeneratorExit: The coroutine that awaited it was closed.
        """
        closed: GeneratorExit | None = None
        is_going_on = not self._is_new or self.tell()
        while is_going_on:
            outcome: Any = None
            error: BaseException | None = None
            try:
                if self._step is RUN_FUNCTION:
                    if await self._resume():
                        return True
                    outcome = self.value
                elif closed is None:
                    step = perform(self._step, self.run, self.run.span)
                    outcome = await InContext(self.context, step)
                else:
                    outcome = perform_closed(self._step, self.run)
            except BaseException as raised:  # noqa: BLE001 - the engine decides what it means
                if is_instance(raised, GeneratorExit):
                    closed = raised
                error = as_cancel(self.run, raised)
            is_going_on = self.tell(outcome, error)
        if closed is not None:
            raise closed
        return False

    async def close(self) -> None:
        """The consumer wants no more values: ends the body and the run.

        Raises:
            BaseException: What the body raised in reply.
        """
        self.run.may_retry = False
        outcome: State | None = None
        error: BaseException | None = None
        try:
            await self._in_body(self._body.aclose())
            self.run.scope.check()
            outcome = self.closed_state()
        except BaseException as raised:  # noqa: BLE001 - as above
            error = as_cancel(self.run, raised)
        await self._end_attempt(self.broken_off() if error is None else error)
        if self.tell(outcome, error):
            await self.advance()
        if error is not None:
            passed_on(self.state)
            raise error

    @contextmanager
    def cancellable(self) -> Iterator[None]:
        """Lets the service cancel the run while the block runs."""
        with cancel_with(self._process, self.run) if self.has_own_scope else nullcontext():
            yield

    async def _resume(self) -> bool:
        """Lets the body run to its next value; False at its end."""
        try:
            if self._attempt is None:
                self.enter_attempt()
                self._body = self._body_context.run(self._fn)
                self.value = await self._in_body(_first_step(self._body))
            else:
                sent, thrown = self.take_answer()
                step = self._body.asend(sent) if thrown is None else self._body.athrow(thrown)
                self.value = await self._in_body(step)
        except StopAsyncIteration:
            await InContext(self._body_context, self._ended())
            self.value = None
            return False
        except BaseException as raised:  # noqa: BLE001 - it goes on, as what it means
            error = as_cancel(self.run, raised)
            await self._end_attempt(error)
            raise error from error.__cause__
        self._count += 1
        return True

    async def _in_body(self, step: Awaitable[Any]) -> Any:
        """Awaits something of the body's, in its context and within its deadline."""
        began_s = clock.monotonic()
        try:
            with interruptible(self.run) if self.has_own_scope else nullcontext():
                return await within(self.run, self._left_s, InContext(self._body_context, step))
        finally:
            if self._left_s is not None:
                self._left_s -= clock.monotonic() - began_s

    async def _ended(self) -> None:
        """Waits for the tasks that the body submitted."""
        error: BaseException | None = None
        try:
            if self._attempt is not None and self._attempt.task_runner is not None:
                await runner_done(self._attempt.task_runner)
        except BaseException as raised:  # noqa: BLE001 - it goes on, as what it means
            error = as_cancel(self.run, raised)
            raise error from error.__cause__
        finally:
            await self._end_attempt(error)

    async def _end_attempt(self, error: BaseException | None) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            await finish_attempt(self.run, attempt, error)


def _first_step(body: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """The first step of a body that the loop is not to close: whoever iterates over it does that.

    A loop that ends closes all asynchronous generators that it has seen, at the same time.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return body.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


class InContext:
    """Awaits something in another context than that of the asyncio task.

    Args:
        context: The context; no other code runs in it meanwhile.
        awaitable: What is awaited.
    """

    def __init__(self, context: Context, awaitable: Awaitable[Any]) -> None:
        self._context = context
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        run = self._context.run
        steps: Any = self._awaitable.__await__()
        resume, value = steps.send, None
        while True:
            try:
                waited_for = run(resume, value)
            except StopIteration as stop:
                return stop.value
            try:
                value = yield waited_for
                resume = steps.send
            except BaseException as error:  # noqa: BLE001 - it is thrown into what is awaited
                resume, value = steps.throw, error
