"""The driver for plain generator functions; `flowspan.drivers.calls.aio_generators` is its twin.

The call of such a flow or task gives a generator. Its run begins with the first value that is asked
for, and goes on with each further one: in between nothing of it runs. The body has a context of its
own (`contextvars`), in which its run is the current one, so that what the consumer does between two
values belongs to the consumer's run.
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
from flowspan.drivers.calls.attempt import begin_attempt, cancel_with, close_attempt
from flowspan.drivers.calls.deadlines import call_within
from flowspan.drivers.calls.span_links import link_inputs
from flowspan.drivers.calls.start import begin_flow, begin_task
from flowspan.drivers.calls.sync import finish_attempt, resolved
from flowspan.drivers.cancellation.safe_points import calls_user_code
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
"""What an attempt gets for its next value when its time is over: it is then told so."""


_open: WeakSet[Generator[Any, Any, Any]] = WeakSet()
"""Those that were begun and are held by somebody: at the end of the process they are closed."""


def open_generator(
    definition: Any, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Iterable[Any] | None
) -> Generator[Any, Any, Any]:
    """A generator that is a run; see `iterate`."""
    get_process()  # so that the reporter ends after what is open is closed
    _close_at_exit()
    values = iterate(definition, args, kwargs, wait_for)
    _open.add(values)
    return values


@functools.cache
def _close_at_exit() -> None:
    atexit.register(_close_open)


def _close_open() -> None:
    for values in list(_open):
        with suppress(ValueError):  # another thread is in the middle of it
            values.close()


@calls_user_code
def iterate(
    definition: Any, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Iterable[Any] | None
) -> Generator[Any, Any, Any]:
    """Runs a flow or task whose function is a plain generator function.

    Args:
        definition: The flow or task.
        args: The positional arguments.
        kwargs: The keyword arguments.
        wait_for: Futures that are to complete before.

    Yields:
        What the function yields.

    Returns:
        What it returns.
    """
    parent = current_run.get()
    process = process_of(parent)
    inputs = args, kwargs, given_upstream(wait_for)
    iteration = Iteration(process, definition, inputs, resolved(*inputs))
    try:
        with iteration.cancellable():
            while iteration.advance():
                try:
                    iteration.answer(sent=(yield iteration.value))
                except GeneratorExit:
                    iteration.close()
                    raise
                except BaseException as thrown:  # noqa: BLE001 - it is the body's
                    iteration.answer(thrown=thrown)
    finally:
        iteration.end()
        if is_outermost(parent):
            process.flush()
    return iteration.state.outcome()


def collecting(fn: Callable[..., Any]) -> Callable[..., list[Any]]:
    """A function that gives all values of a plain generator function as a list."""

    @functools.wraps(fn)
    @calls_user_code
    def collect(*args: Any, **kwargs: Any) -> list[Any]:
        return list(fn(*args, **kwargs))

    mark_as_made(collect, collecting, fn)
    return collect


class BaseIteration:
    """A run of a generator function on its way: what the twins share.

    Attributes:
        run: The run.
        value: What the body yielded last.
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
        """Begins the run.

        Args:
            process: The process.
            definition: The flow or task.
            inputs: The arguments as they were given, and `wait_for`.
            call: The arguments with results in the place of futures, and what is in the way.
        """
        args, kwargs, error = call
        parent = current_run.get()
        if definition.is_flow:
            begun = begin_flow(
                process, definition, parent, args, kwargs, unresolved=error is not None
            )
            run, args, kwargs = begun.run, begun.args, begun.kwargs
        else:
            run = begin_task(process, definition, parent, args, kwargs)
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
            link_inputs(run, definition, *inputs)
            self.context = copy_context()
            self.context.run(current_run.set, run)
            self._body_context: Context = self.context
            if run.result_handler is not None:
                run.result_handler.looks_up = False  # its values are wanted one by one
            self._fn = functools.partial(definition.fn, *args, **kwargs)
        except BaseException as stop:  # a class method that was not looked up cannot be called
            never_run(run, process, stop)
            raise
        error = run.begin_error if error is None else error
        run.args, run.kwargs = args, kwargs
        self._steps = execute(run, process) if error is None else end_unstarted(run, process, error)

    def answer(self, *, sent: Any = None, thrown: BaseException | None = None) -> None:
        """What the consumer sends or throws in return for the last value."""
        self._sent, self._thrown = sent, thrown

    def tell(self, outcome: Any = None, error: BaseException | None = None) -> bool:
        """Tells the engine what came of its last step; False once the run has ended."""
        self._is_new = False
        try:
            self._step = self._steps.send(outcome) if error is None else self._steps.throw(error)
        except StopIteration as stop:
            self.state = stop.value
            return False
        return True

    def end(self) -> None:
        """Nothing more comes of the run."""
        stop = sys.exception()
        if self._is_new and stop is not None:  # it came before the first step
            never_run(self.run, self._process, stop)
        if self.run.definition.is_flow:
            close_attempt(self.run, self.run)
            self._scope.close()

    def enter_attempt(self) -> None:
        """The run as the body of the next attempt sees it, in a context of its own."""
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
        """What the body is to get next: a value, or what is thrown into it."""
        sent, thrown = self._sent, self._thrown
        self.answer()
        try:
            self.run.scope.check()
        except (CancelRun, DeadlinePassed) as stop:  # between two values
            thrown = stop
        return sent, thrown

    def broken_off(self) -> BaseException | None:
        """What stops the tasks that the body submitted when its consumer wants no more values.

        Nothing waits for them: it may be the garbage collection that closes it, in any thread.
        """
        is_needed = self._attempt is not None and self._attempt.task_runner is not None
        return GeneratorExit() if is_needed else None

    def closed_state(self) -> State:
        """The end of a run whose consumer wants no more values."""
        count = f"{self._count} value" + ("" if self._count == 1 else "s")
        return State(COMPLETED, message=f"Closed by its consumer after {count}.")


class Iteration(BaseIteration):
    """A run of a plain generator function on its way."""

    @calls_user_code
    def advance(self) -> bool:
        """Goes on to the next value; False once the run has ended."""
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
        """The consumer wants no more values: ends the body and the run.

        Raises:
            BaseException: What the body raised in reply.
        """
        self.run.may_retry = False
        outcome: State | None = None
        error: BaseException | None = None
        try:
            self._in_body(self._body.close)
            self.run.scope.check()
            outcome = self.closed_state()
        except BaseException as raised:  # noqa: BLE001 - as above
            error = raised
        self._end_attempt(self.broken_off() if error is None else error)
        if self.tell(outcome, error):
            self.advance()
        if error is not None:
            raise error

    def cancellable(self) -> Any:
        """Lets the service cancel the run while the block runs."""
        return cancel_with(self._process, self.run) if self.has_own_scope else nullcontext()

    @calls_user_code
    def _resume(self) -> bool:
        """Lets the body run to its next value; False at its end, with what it returned."""
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
        """Calls something of the body's, in its context and within its deadline."""
        assert self._attempt is not None  # noqa: S101 - the body is one of an attempt
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
        """What the body returned, once the tasks that it submitted have ended."""
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
