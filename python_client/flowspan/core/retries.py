"""Retry policies of flows and tasks, and the stage that applies them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flowspan.core.classification import judge_error
from flowspan.core.events import STATE
from flowspan.core.number_options import LONGEST_WAIT_S, checked_count, checked_number
from flowspan.core.stages import RETRY, Stage
from flowspan.core.states import CRASHED, FAILED, SCHEDULED
from flowspan.core.steps import CallUser, Sleep
from flowspan.core.values.inspection import is_instance
from flowspan.exceptions import TerminationSignal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from flowspan.core.engine import EngineIO
    from flowspan.core.run import Run
    from flowspan.core.stages import Retry
    from flowspan.core.states import State
    from flowspan.core.steps import Steps

    RetryDelay = float | Sequence[float] | Callable[[int], Sequence[float]]
    RetryCondition = Callable[[Any, Any, Any], bool | Awaitable[bool]]
    Uniform = Callable[[float, float], float]
    """Returns a random number between two numbers."""

_NS_PER_S = 1_000_000_000
_WARNING = 30
_ERROR = 40
_SCHEDULED = SCHEDULED.number

_OWN_END = (KeyboardInterrupt, SystemExit, GeneratorExit, TerminationSignal)
"""Exceptions that end a run because the process, or whatever drives its coroutine, ends."""

MAX_DELAYS = 50
"""Maximum number of delays in a list, as in Prefect."""


class RetryPolicy:
    """The number of retries of a run, and the delays before them.

    Attributes:
        retries: How many attempts may follow the first.
        delays_s: The delay before each retry in seconds; the last one is repeated. Never empty.
        jitter_factor: The maximum random growth of a delay: a factor of 0.5 spreads a delay of 10 s
            evenly over 10 to 15 s.
        given_delay: The delay as it was given, or the return value of the given function.
        condition: Called with (definition, run, state) after each failure or crash; may be async.
            A false result or an exception ends the run. None retries every failure and no crash.
    """

    __slots__ = ("condition", "delays_s", "given_delay", "jitter_factor", "retries")

    def __init__(
        self,
        retries: int | None,
        delay: RetryDelay | None = 0,
        jitter_factor: float | None = None,
        condition: RetryCondition | None = None,
    ) -> None:
        """Check and store the options.

        Args:
            retries: How many attempts may follow the first; None is 0.
            delay: Seconds; or a list of them, of which the last is repeated; or a function that
                takes the number of retries and returns such a list; None is 0.
            jitter_factor: As the attribute; None is 0.
            condition: As the attribute.

        Raises:
            ValueError: An option has an invalid value; the message names it.
            TypeError: An option has an invalid type; the message names it.
        """
        self.retries = 0 if retries is None else checked_count(retries, "retries", 0)
        if callable(delay):
            delay = delay(self.retries)
            if delay is None:
                raise TypeError(
                    "the function given as retry_delay_seconds returned None, not delays"
                )
        self.given_delay: Any = 0 if delay is None else delay
        self.delays_s = _checked_delays(self.given_delay)
        self.jitter_factor = _checked_jitter(jitter_factor)
        if condition is not None and not callable(condition):
            raise TypeError(f"retry_condition_fn must be callable, not {condition!r}")
        self.condition = condition

    def may_retry(self, attempt: int) -> bool:
        """Return True if another attempt may follow the given one (1 for the first)."""
        return attempt <= self.retries

    def may_follow(self, state: State) -> bool:
        """Return True if a retry may follow an attempt that ended like this, `condition` aside.

        A crash does not show whether it is safe to run the code again. So it is retried only if a
        condition decides, and never if this process itself is ending.
        """
        if state.type is CRASHED:
            return self.condition is not None and not is_instance(state.data, _OWN_END)
        return state.type is FAILED

    def delay_s(self, attempt: int, uniform: Uniform) -> float:
        """Return the delay after a failed attempt, in seconds.

        Args:
            attempt: The attempt that failed, 1 for the first.
            uniform: Returns a random number between two; called only if there is jitter.
        """
        base = self.delays_s[min(attempt, len(self.delays_s)) - 1]
        if not self.jitter_factor or not base:
            return base
        return uniform(base, min(base * (1 + self.jitter_factor), LONGEST_WAIT_S))


class RetryStage(Stage):
    """Begins the next attempt of a run that did not complete, if its retry policy says so."""

    def after_failed_attempt(
        self, run: Run, io: EngineIO, state: State
    ) -> Steps[State | Retry | None]:
        """Decide whether the run is retried, and wait until then."""
        policy = run.definition.retry
        if policy is None or not run.may_retry or not policy.may_retry(run.attempt):
            return None
        if not policy.may_follow(state):
            return None
        try:
            run.scope.check()  # a run that was cancelled in the meantime is not retried
            if policy.condition is not None:
                if not (yield from _condition_holds(run, io, policy.condition, state)):
                    return None
                run.scope.check()
        except BaseException as error:  # noqa: BLE001 - whatever ends the run must be reported
            return judge_error(error, run.record.id, io.now_ns())
        delay_s = policy.delay_s(run.attempt, io.uniform)
        now = io.now_ns()
        if run.span is not None:
            run.span.attempt_failed(state.error(), state.message, now)
        count = f"{run.attempt}/{policy.retries}"
        if not delay_s:
            io.note(run, _WARNING, f"{state.message} | Retry {count} begins at once.", None)
            return RETRY
        io.note(run, _WARNING, f"{state.message} | Retry {count} begins in {delay_s:g} s.", None)
        return (yield from _wait(run, io, state.message, delay_s, now))


RETRIES = RetryStage()


def _condition_holds(
    run: Run, io: EngineIO, condition: RetryCondition, state: State
) -> Steps[bool]:
    try:
        return bool((yield CallUser(condition, (run.definition, run, state))))
    except Exception as error:  # noqa: BLE001 - user code
        io.note(run, _ERROR, "retry_condition_fn raised: the run is not retried.", error)
        return False


def _wait(run: Run, io: EngineIO, message: str, delay_s: float, now: int) -> Steps[State | Retry]:
    """Wait in AwaitingRetry; an error that interrupts the wait ends the run."""
    run.first_ns = run.started_ns
    run.ran_ns += now - run.running_since_ns
    run.running_since_ns = 0
    at_ns = now + int(delay_s * _NS_PER_S)
    kind, name = _SCHEDULED, "AwaitingRetry"
    io.emit((STATE, run.record.id, run.attempt, kind, name, message, now, None, at_ns))
    if run.span is not None:
        run.span.awaiting_retry(delay_s, now)
    try:
        yield Sleep(delay_s if io.skip is None else io.skip(run, delay_s))
    except BaseException as error:  # noqa: BLE001 - whatever ends the run must be reported
        return judge_error(error, run.record.id, io.now_ns())
    return RETRY


def exponential_backoff(backoff_factor: float) -> Callable[[int], list[float]]:
    """Return delays that double: factor, 2 x factor, 4 x factor, …; for `retry_delay_seconds`.

    Args:
        backoff_factor: The first delay in seconds.

    Raises:
        ValueError: The factor is negative, infinite or NaN.
        TypeError: It is not a number.
    """
    factor = checked_number(backoff_factor, "backoff_factor")
    if factor < 0 or math.isinf(factor):
        raise ValueError(f"backoff_factor must be a number of at least 0, not {backoff_factor!r}")

    def delays(retries: int) -> list[float]:
        return [min(factor * 2**step, LONGEST_WAIT_S) for step in range(min(retries, MAX_DELAYS))]

    return delays


def _checked_delays(delay: Any) -> tuple[float, ...]:
    is_one = isinstance(delay, (str, bytes)) or not isinstance(delay, Iterable)
    values: tuple[Any, ...] = (delay,) if is_one else tuple(delay)
    if len(values) > MAX_DELAYS:
        count = len(values)
        raise ValueError(f"retry_delay_seconds may have at most {MAX_DELAYS} delays, not {count}")
    return tuple(_checked_delay(value) for value in values) or (0.0,)


def _checked_delay(value: Any) -> float:
    what = "a number of seconds, a list of them, or a function that returns such a list"
    seconds = checked_number(value, "retry_delay_seconds", what)
    if seconds < 0 or math.isinf(seconds):
        raise ValueError(f"retry_delay_seconds must be at least 0 and finite, not {value!r}")
    return min(seconds, LONGEST_WAIT_S)


def _checked_jitter(factor: float | None) -> float:
    if factor is None:
        return 0.0
    number = checked_number(factor, "retry_jitter_factor")
    if number < 0 or math.isinf(number):
        raise ValueError(f"retry_jitter_factor must be a number of at least 0, not {factor!r}")
    return number
