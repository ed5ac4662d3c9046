"""The driver for async generator functions; `generators` is its counterpart for sync ones."""

from __future__ import annotations

import asyncio
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
    cancelling_current_task,
    finish_attempt,
    flush_in_thread,
    interruptible,
    resolved,
    runner_done,
    within,
)
from flowspan.drivers.calls.aio_cancellation import as_cancel, passed_on
from flowspan.drivers.calls.attempt import taking_commands
from flowspan.drivers.calls.generators import BaseIteration
from flowspan.drivers.cancellation.termination import EndingAtIntervals
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
    """Run a flow or task whose function is an async generator function.

    Args:
        definition: The flow or task.
        args: The positional arguments.
        kwargs: The keyword arguments.
        wait_for: Futures that must complete first.

    Yields:
        The values of the function.
    """
    parent = current_run.get()
    process = process_of(parent)
    inputs = args, kwargs, given_upstream(wait_for)
    iteration = AsyncIteration(process, definition, inputs, await resolved(*inputs))
    sigterm = EndingAtIntervals(
        is_outermost=is_outermost(parent), made_stop=cancelling_current_task
    )
    sigterm.begin()
    try:
        try:
            with iteration.cancellable():
                while await iteration.advance():
                    try:
                        sigterm.end()
                        iteration.answer(sent=(yield iteration.value))
                    except GeneratorExit:
                        await iteration.close()
                        raise
                    except BaseException as thrown:  # noqa: BLE001 - the body handles it
                        iteration.answer(thrown=thrown)
                    sigterm.begin()
        finally:
            iteration.end()
        if is_outermost(parent):
            await flush_in_thread(process)
        passed_on(iteration.state).outcome()
    finally:
        sigterm.end()


def collecting(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that collects the values of an async generator function in a list."""

    @functools.wraps(fn)
    async def collect(*args: Any, **kwargs: Any) -> list[Any]:
        return [value async for value in fn(*args, **kwargs)]

    mark_as_made(collect, collecting, fn)
    return collect


class AsyncIteration(BaseIteration):
    """The iteration over a run of an async generator function."""

    async def advance(self) -> bool:
        """Advance to the next value. Return False once the run has ended.

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
        """End the body and the run, because the consumer wants no more values.

        Raises:
            BaseException: The error of the body in reply.
        """
        self.run.may_retry = False
        outcome: State | None = None
        error: BaseException | None = None
        try:
            await self._in_body(self._body.aclose())
            self.run.scope.check()
            outcome = self.closed_state()
        except BaseException as raised:  # noqa: BLE001 - the engine decides what it means
            error = as_cancel(self.run, raised)
        await self._end_attempt(self.broken_off() if error is None else error)
        if self.tell(outcome, error):
            await self.advance()
        if error is not None:
            passed_on(self.state)
            raise error

    @contextmanager
    def cancellable(self) -> Iterator[None]:
        """Let the service cancel the run while the block runs."""
        with taking_commands(self._process, self.run) if self.has_own_scope else nullcontext():
            yield

    async def _resume(self) -> bool:
        """Run the body to its next value. Return False at its end."""
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
        except BaseException as raised:  # noqa: BLE001 - raised again, translated
            error = as_cancel(self.run, raised)
            await self._end_attempt(error)
            raise error from error.__cause__
        self._count += 1
        return True

    async def _in_body(self, step: Awaitable[Any]) -> Any:
        """Await something in the context of the body and within its deadline."""
        began_s = clock.monotonic()
        self.run.asyncio_task = asyncio.current_task()
        try:
            with interruptible(self.run) if self.has_own_scope else nullcontext():
                return await within(self.run, self._left_s, InContext(self._body_context, step))
        finally:
            self.run.asyncio_task = None
            if self._left_s is not None:
                self._left_s -= clock.monotonic() - began_s

    async def _ended(self) -> None:
        """Wait for the tasks that the body submitted."""
        error: BaseException | None = None
        try:
            if self._attempt is not None and self._attempt.task_runner is not None:
                await runner_done(self._attempt.task_runner)
        except BaseException as raised:  # noqa: BLE001 - raised again, translated
            error = as_cancel(self.run, raised)
            raise error from error.__cause__
        finally:
            await self._end_attempt(error)

    async def _end_attempt(self, error: BaseException | None) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            await finish_attempt(self.run, attempt, error)


def _first_step(body: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Return the first step of a body, hidden from the loop: its own generator closes it.

    A loop that ends closes all async generators that it has seen, in no particular order.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return body.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


class InContext:
    """Awaits something in a context other than the asyncio task's.

    Args:
        context: The context; no other code may run in it in the meantime.
        awaitable: The awaitable.
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
            except BaseException as error:  # noqa: BLE001 - thrown into the awaitable
                resume, value = steps.throw, error
