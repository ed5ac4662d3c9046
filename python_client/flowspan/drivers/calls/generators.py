"""The driver for sync generator functions; `aio_generators` is its counterpart for async ones.

Calling such a flow or task returns a generator. Its run begins when the consumer asks for the first
value, and continues with each further value; in between, none of its code runs. The body has its
own context (`contextvars`), in which its run is the current one, so what the consumer does between
two values belongs to the run of the consumer.
"""

from __future__ import annotations

import atexit
import functools
import sys
from contextlib import nullcontext, suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from flowspan import clock
from flowspan.core.async_dispatch import running_loop
from flowspan.core.engine import end_unstarted, execute, never_run
from flowspan.core.pickling import mark_as_made
from flowspan.core.run import current_run, is_outermost
from flowspan.core.states import COMPLETED, State
from flowspan.core.steps import RUN_FUNCTION
from flowspan.drivers.calls.attempt import begin_attempt, close_attempt, taking_commands
from flowspan.drivers.calls.deadlines import call_within
from flowspan.drivers.calls.run_inputs import inputs_of
from flowspan.drivers.calls.start import begin_flow, begin_task
from flowspan.drivers.calls.sync import finish_attempt, resolved
from flowspan.drivers.cancellation.safe_points import calls_user_code
from flowspan.drivers.cancellation.termination import EndingAtIntervals
from flowspan.drivers.futures.arguments import given_upstream, settle
from flowspan.drivers.perform import perform
from flowspan.drivers.process import get_process, process_of
from flowspan.exceptions import CancelRun, DeadlinePassed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from contextvars import Context

    from flowspan.core.run import Run
    from flowspan.core.steps import Step
    from flowspan.drivers.process import ProcessContext

    Call = tuple[tuple[Any, ...], dict[str, Any]]

_SHORTEST_S = 1e-4
"""The time for the next value of an attempt that is past its deadline, which then interrupts it."""


_open: WeakSet[Generator[Any, Any, Any]] = WeakSet()
"""The generators that are still referenced. The open ones are closed when the process ends."""


def open_generator(
    definition: Any, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Iterable[Any] | None
) -> Generator[Any, Any, Any]:
    """Return the generator of a new run; see `iterate`."""
    get_process()  # its exit handler must run after the one that closes open generators
    _close_at_exit()
    values = iterate(definition, args, kwargs, wait_for)
    _open.add(values)
    return values


@functools.cache
def _close_at_exit() -> None:
    atexit.register(_close_open)


def _close_open() -> None:
    for values in list(_open):
        with suppress(ValueError):  # another thread is executing it
            values.close()


@calls_user_code
def iterate(
    definition: Any, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Iterable[Any] | None
) -> Generator[Any, Any, Any]:
    """Run a flow or task whose function is a sync generator function.

    Args:
        definition: The flow or task.
        args: The positional arguments.
        kwargs: The keyword arguments.
        wait_for: Futures that must complete first.

    Yields:
        The values of the function.

    Returns:
        The return value of the function.
    """
    parent = current_run.get()
    process = process_of(parent)
    inputs = args, kwargs, given_upstream(wait_for)
    iteration = Iteration(process, definition, inputs, resolved(*inputs))
    sigterm = EndingAtIntervals(is_outermost=is_outermost(parent))
    sigterm.begin()
    try:
        with iteration.cancellable():
            while iteration.advance():
                try:
                    sigterm.end()
                    iteration.answer(sent=(yield iteration.value))
                except GeneratorExit:
                    sigterm.begin()
                    iteration.close()
                    raise
                except BaseException as thrown:  # noqa: BLE001 - the body handles it
                    iteration.answer(thrown=thrown)
                sigterm.begin()
    finally:
        iteration.end()
        try:
            if is_outermost(parent):
                process.flush()
        finally:
            sigterm.end()
    return iteration.state.outcome()


def collecting(fn: Callable[..., Any]) -> Callable[..., list[Any]]:
    """Return a function that collects the values of a sync generator function in a list."""

    @functools.wraps(fn)
    @calls_user_code
    def collect(*args: Any, **kwargs: Any) -> list[Any]:
        return list(fn(*args, **kwargs))

    mark_as_made(collect, collecting, fn)
    return collect


class BaseIteration:
    """The iteration over a run of a generator function: the part that sync and async share.

    Attributes:
        run: The run.
        value: The last value of the body.
        state: The terminal state, once `tell` has returned False.
    """

    state: State

    def __init__(
        self,
        process: ProcessContext,
        definition: Any,
        inputs: tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...]],
        call: tuple[tuple[Any, ...], dict[str, Any], BaseException | None],
    ) -> None:
        """Begin the run.

        Args:
            process: The process context.
            definition: The flow or task.
            inputs: The arguments as they were given, and `wait_for`.
            call: The arguments with results in place of futures, and the reason not to call the
                function, or None.
        """
        args, kwargs, error = call
        parent = current_run.get()
        found = inputs_of(definition, *inputs)
        if definition.is_flow:
            begun = begin_flow(
                process,
                definition,
                parent,
                args,
                kwargs,
                inputs=found,
                unresolved=error is not None,
            )
            run, args, kwargs = begun.run, begun.args, begun.kwargs
        else:
            run = begin_task(process, definition, parent, args, kwargs, inputs=found)
        self.run = run
        self._process = process
        self._scope = run.scope
        self.has_own_scope = definition.is_flow or parent is None
        self._step: Step = RUN_FUNCTION
        self._is_new = True
        self._attempt: Run | None = None
        self._body: Any = None
        self._left_s: float | None = None
        self._sent: Any = None
        self._thrown: BaseException | None = None
        self._count = 0
        self.value: Any = None
        try:
            self.context = copy_context()
            self.context.run(current_run.set, run)
            self._body_context: Context = self.context
            if run.result_handler is not None:
                run.result_handler.looks_up = False  # the consumer wants the values one by one
            self._fn = functools.partial(definition.fn, *args, **kwargs)
        except BaseException as stop:  # an unbound classmethod, for example, is not callable
            never_run(run, process, stop)
            raise
        error = run.begin_error if error is None else error
        run.args, run.kwargs = args, kwargs
        self._steps = execute(run, process) if error is None else end_unstarted(run, process, error)

    def answer(self, *, sent: Any = None, thrown: BaseException | None = None) -> None:
        """Store the value or error that the consumer sends in reply to the last value."""
        self._sent, self._thrown = sent, thrown

    def tell(self, outcome: Any = None, error: BaseException | None = None) -> bool:
        """Send the engine the outcome of its last step. Return False once the run has ended."""
        self._is_new = False
        try:
            self._step = self._steps.send(outcome) if error is None else self._steps.throw(error)
        except StopIteration as stop:
            self.state = stop.value
            return False
        return True

    def end(self) -> None:
        """Clean up after the run; call this when no more values are asked for."""
        stop = sys.exception()
        if self._is_new and stop is not None:  # the error came before the first step
            never_run(self.run, self._process, stop)
        if self.run.definition.is_flow:
            close_attempt(self.run, self.run)
            self._scope.close()

    def enter_attempt(self) -> None:
        """Begin the next attempt: make the run as its body sees it, and the context of the body."""
        run = self.run
        self._left_s = run.definition.timeout_s
        attempt = begin_attempt(run)
        context = self._body_context = self.context.copy()
        context.run(current_run.set, attempt)
        if run.span is not None:
            context.run(run.span.enter)
        self.answer()
        self._attempt = attempt

    def take_answer(self) -> tuple[Any, BaseException | None]:
        """Return the next input of the body: a value to send, and an error to throw or None."""
        sent, thrown = self._sent, self._thrown
        self.answer()
        try:
            self.run.scope.check()
        except (CancelRun, DeadlinePassed) as stop:  # the run was stopped between two values
            thrown = stop
        return sent, thrown

    def broken_off(self) -> BaseException | None:
        """Return the error that stops the submitted tasks of a body that is closed, or None.

        Nothing waits for these tasks, because the garbage collector may close it in any thread.
        """
        is_needed = self._attempt is not None and self._attempt.task_runner is not None
        return GeneratorExit() if is_needed else None

    def closed_state(self) -> State:
        """Return the terminal state of a run that its consumer closes."""
        count = f"{self._count} value" + ("" if self._count == 1 else "s")
        return State(COMPLETED, message=f"Closed by its consumer after {count}.")


class Iteration(BaseIteration):
    """The iteration over a run of a sync generator function."""

    @calls_user_code
    def advance(self) -> bool:
        """Advance to the next value. Return False once the run has ended."""
        is_going_on = not self._is_new or self.tell()
        while is_going_on:
            outcome: Any = None
            error: BaseException | None = None
            try:
                if self._step is not RUN_FUNCTION:
                    outcome = self.context.run(perform, self._step, self.run, self.run.span)
                elif self._resume():
                    return True
                else:
                    outcome = self.value
            except BaseException as raised:  # noqa: BLE001 - the engine decides what it means
                error = raised
            is_going_on = self.tell(outcome, error)
        return False

    @calls_user_code
    def close(self) -> None:
        """End the body and the run, because the consumer wants no more values.

        Raises:
            BaseException: The error of the body in reply.
        """
        self.run.may_retry = False
        outcome: State | None = None
        error: BaseException | None = None
        try:
            self._in_body(self._body.close)
            self.run.scope.check()
            outcome = self.closed_state()
        except BaseException as raised:  # noqa: BLE001 - the engine decides what it means
            error = raised
        self._end_attempt(self.broken_off() if error is None else error)
        if self.tell(outcome, error):
            self.advance()
        if error is not None:
            raise error

    def cancellable(self) -> Any:
        """Let the service cancel the run while the block runs."""
        return taking_commands(self._process, self.run) if self.has_own_scope else nullcontext()

    @calls_user_code
    def _resume(self) -> bool:
        """Run the body to its next value. At its end, return False and keep its return value."""
        try:
            if self._attempt is None:
                self.enter_attempt()
                self._body = self._in_body(self._fn)
            sent, thrown = self.take_answer()
            if thrown is None:
                self.value = self._in_body(self._body.send, sent)
            else:
                self.value = self._in_body(self._body.throw, thrown)
        except StopIteration as stop:
            self.value = self._body_context.run(self._ended, stop.value)
            return False
        except BaseException as error:
            self._end_attempt(error)
            raise
        self._count += 1
        return True

    @calls_user_code
    def _in_body(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call a function in the context of the body and within its deadline."""
        assert self._attempt is not None  # noqa: S101 - only called during an attempt
        self._attempt.loop = running_loop()
        if self._left_s is None:
            return self._body_context.run(fn, *args)
        began_s = clock.monotonic()
        left_s = max(self._left_s, _SHORTEST_S)
        try:
            return call_within(self.run, left_s, self._body_context.run, (fn, *args))
        finally:
            self._left_s -= clock.monotonic() - began_s

    def _ended(self, value: Any) -> Any:
        """Wait for the tasks that the body submitted, and return what the body returned."""
        error: BaseException | None = None
        try:
            if self._attempt is not None and self._attempt.task_runner is not None:
                self._attempt.task_runner.wait()
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._end_attempt(error)
        return settle(value) if self.run.definition.is_flow else value

    def _end_attempt(self, error: BaseException | None) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            finish_attempt(self.run, attempt, error)
