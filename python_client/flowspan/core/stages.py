"""Stages: behaviours around the attempts of a run, such as results, hooks and retries.

The engine (`execute`) calls the stages of a run, in their order, at each of these points:

1. `before_run`: the run has not entered Running. A stage may return a terminal state instead.
2. `before_attempt`: the run has entered Running (or Retrying).
3. `after_attempt`: the attempt ended.
4. `after_failed_attempt`: the attempt did not complete. A stage may ask for a retry.
5. `before_retry`: the next attempt is about to begin.
6. `before_end`: the run is about to enter a terminal state. A stage may replace the state.
7. `after_end`: the run has entered its terminal state.
8. `broken_off`: an error ended the run, which does not reach `after_end`.

At `before_run` and `before_end`, an error of a stage becomes the terminal state. At
`before_attempt` it ends the attempt, as if the function had raised it. At `after_end` it goes to
the caller of the run. At the other points it ends the run at once.

To add a stage:

- Derive a class from `Stage` and define the points that it needs. A point is a method that returns
  a generator of steps, so that it can sleep and make calls; only `broken_off` is a plain method.
- Make one instance, which all runs share. It holds no data of a run: that belongs in the `Run`.
- If the stage follows from the definition (an option of a flow or task), add it to
  `Definition.update_stages`. Its place there is its place among the stages.
- If only some runs need it, call `add_stage`: it comes before the stages of the definition. With
  `add_last_stage`, it comes after them: its `before_run` is skipped if a result was found.

A run whose function is never called (wrong arguments, a failed upstream run) passes no point, but
its hooks are called: see `flowspan.core.engine.end_unstarted`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from flowspan.core.classification import judge_error
from flowspan.core.states import COMPLETED, RUNNING, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from flowspan.core.engine import EngineIO
    from flowspan.core.run import Run
    from flowspan.core.steps import Steps

    BeforeRun: TypeAlias = Callable[[Run, EngineIO], Steps[State | None]]
    BeforeRetry: TypeAlias = Callable[[Run, EngineIO], Steps[None]]
    Told: TypeAlias = Callable[[Run, EngineIO, State], Steps[None]]
    Asked: TypeAlias = Callable[[Run, EngineIO, State], Steps[State | None]]
    AskedToRetry: TypeAlias = Callable[[Run, EngineIO, State], Steps["State | Retry | None"]]

_MAX_COMBINATIONS = 128


class Retry:
    """The answer of a stage that asks for the next attempt: `RETRY`."""

    __slots__ = ()


RETRY = Retry()


class Stage:
    """A behaviour around the attempts of a run. A point that it does not need is None.

    Attributes:
        before_run: Called with (run, io). Returns a terminal state if the run must not begin; the
            later stages are then skipped.
        before_attempt: Called with (run, io, state) and the state Running or Retrying.
        after_attempt: Called with (run, io, state) and the outcome of the attempt.
        after_failed_attempt: Called like `after_attempt`. Returns `RETRY` to begin the
            next attempt at once, a state to replace the outcome, or None. It waits for the delay of
            a retry itself.
        before_retry: Called with (run, io).
        before_end: Called with (run, io, state) and the state to enter. Returns a state to enter
            instead, or None.
        after_end: Called with (run, io, state) and the terminal state.
    """

    before_run: BeforeRun | None = None
    before_attempt: Told | None = None
    after_attempt: Told | None = None
    after_failed_attempt: AskedToRetry | None = None
    before_retry: BeforeRetry | None = None
    before_end: Asked | None = None
    after_end: Told | None = None

    def broken_off(self, run: Run) -> None:
        """Release the resources that the stage holds for a run that does not reach `after_end`."""


class Stages:
    """The stages of a run: a tuple of methods for each point, empty where no stage needs it.

    An ordinary task shares `NO_STAGES`, and pays one check of an empty tuple for each point. Make
    others with `stages_of`, which gives equal combinations the same object.

    Attributes:
        all: The stages, in order.
    """

    __slots__ = (
        "after_attempt",
        "after_end",
        "after_failed_attempt",
        "all",
        "before_attempt",
        "before_end",
        "before_retry",
        "before_run",
    )

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        self.all = stages
        self.before_run = tuple(s.before_run for s in stages if s.before_run)
        self.before_attempt = tuple(s.before_attempt for s in stages if s.before_attempt)
        self.after_attempt = tuple(s.after_attempt for s in stages if s.after_attempt)
        self.after_failed_attempt = tuple(
            s.after_failed_attempt for s in stages if s.after_failed_attempt
        )
        self.before_retry = tuple(s.before_retry for s in stages if s.before_retry)
        self.before_end = tuple(s.before_end for s in stages if s.before_end)
        self.after_end = tuple(s.after_end for s in stages if s.after_end)


NO_STAGES = Stages(())


@lru_cache(_MAX_COMBINATIONS)
def stages_of(*stages: Stage) -> Stages:
    """Return the combination of some stages, in the order of their calls."""
    return Stages(stages) if stages else NO_STAGES


def add_stage(run: Run, stage: Stage) -> None:
    """Add a stage to one run, before those that it has."""
    run.stages = stages_of(stage, *run.stages.all)


def add_last_stage(run: Run, stage: Stage) -> None:
    """Add a stage to one run, after those that it has."""
    run.stages = stages_of(*run.stages.all, stage)


# The functions below are the engine's part of each point; it calls them only where a stage needs
# the point. `run.stages` is read each time, since user code may add a stage to its run.


def before_run(run: Run, io: EngineIO) -> Steps[State | None]:
    """Return the terminal state of a run that must not begin, or None."""
    try:
        for ask in run.stages.before_run:
            found = yield from ask(run, io)
            if found is not None:
                return found
    except BaseException as error:  # noqa: BLE001 - whatever ends the run must be reported
        return judge_error(error, run.record.id, io.now_ns())
    return None


def before_attempt(run: Run, io: EngineIO, name: str, message: str, now_ns: int) -> Steps[None]:
    """Notify the stages that an attempt begins.

    Args:
        run: The run.
        io: The outside world.
        name: The name of the state that the run has entered.
        message: The message of the state.
        now_ns: The time of the state.
    """
    state = State(RUNNING, name, message, None, run.record.id, now_ns)
    state.flow_run_id = run.record.flow_run_id
    return tell(run.stages.before_attempt, run, io, state)


def after_failed_attempt(run: Run, io: EngineIO, state: State) -> Steps[State | Retry]:
    """Ask the stages about an attempt that did not complete.

    Returns:
        `RETRY` if the next attempt begins now; else the state that the run ends in.
    """
    for ask in run.stages.after_failed_attempt:
        answer = yield from ask(run, io, state)
        if isinstance(answer, Retry):
            for tell_one in run.stages.before_retry:
                yield from tell_one(run, io)
            return answer
        state = state if answer is None else answer
        if state.type is COMPLETED:
            break
    return state


def before_end(run: Run, io: EngineIO, state: State) -> Steps[State]:
    """Return the terminal state to enter, which the stages may replace."""
    for ask in run.stages.before_end:
        try:
            answer = yield from ask(run, io, state)
        except BaseException as error:  # noqa: BLE001 - whatever ends the run must be reported
            answer = judge_error(error, run.record.id, io.now_ns())
        state = state if answer is None else answer
    return state


def tell(stages: tuple[Told, ...], run: Run, io: EngineIO, state: State) -> Steps[None]:
    """Notify the stages that need a point of a state of the run."""
    if len(stages) == 1:  # without another generator around that of the stage
        return stages[0](run, io, state)
    return _tell_all(stages, run, io, state)


def _tell_all(stages: tuple[Told, ...], run: Run, io: EngineIO, state: State) -> Steps[None]:
    for tell_one in stages:
        yield from tell_one(run, io, state)


def broken_off(run: Run) -> None:
    """Make the stages release the resources of a run that an error ended."""
    for stage in run.stages.all:
        stage.broken_off(run)
