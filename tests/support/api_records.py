"""Runs for tests of views."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import UUID

from flowspan.api import (
    Change,
    Failure,
    FlowRun,
    State,
    StateType,
    TaskRun,
    Transition,
    TransitionCause,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def run_id(number: int) -> UUID:
    return UUID(int=0x01A202D9D28970008000000000000000 + number)


def make_run(
    number: int,
    name: str = "",
    *,
    parent: int | None = None,
    kind: StateType = StateType.COMPLETED,
    is_flow: bool = False,
    began_s: float = 0.0,
    took_s: float = 1.0,
    attempt: int = 1,
    failure: Failure | None = None,
    run_name: str | None = None,
    state_name: str = "",
    **fields,
) -> FlowRun | TaskRun:
    """Return a run that started `began_s` seconds after NOW minus one minute."""
    began = kind not in {StateType.PENDING, StateType.SCHEDULED}
    start = NOW - timedelta(seconds=60 - began_s)
    common = {
        "id": run_id(number),
        "name": f"{name}-{number}" if run_name is None else run_name,
        "state": State(
            type=kind,
            name=state_name or kind.name.capitalize(),
            entered_at=start + timedelta(seconds=took_s) if kind.is_terminal else start,
            failure=failure,
        ),
        "attempt": attempt,
        "parent_run_id": None if parent is None else run_id(parent),
        "root_run_id": run_id(0),
        "tags": (),
        "created_at": start,
        "started_at": start if began else None,
        "ended_at": start + timedelta(seconds=took_s) if kind.is_terminal else None,
        "run_duration_s": took_s if kind.is_terminal else 0.0,
        "trace": None,
        "session_id": None,
        "transition_count": 3 if kind.is_terminal else 2,
    }
    if is_flow:
        own = {"flow_id": None, "flow_name": name, "flow_version": "", "parameters": None}
        return FlowRun(**{**common, **own, **fields})
    return TaskRun(**{**common, "task_name": name, "flow_run_id": run_id(0), **fields})


def make_change(
    number: int, kind: StateType, *, ordinal: int, attempt: int = 1, at_s: float = 0.0, run=None
) -> Change:
    """Return a transition of run `number`."""
    state = State(type=kind, name=kind.name.capitalize(), entered_at=NOW + timedelta(seconds=at_s))
    transition = Transition(
        run_id=run_id(number),
        ordinal=ordinal,
        attempt=attempt,
        state=state,
        cause=TransitionCause.REPORTED,
        position=ordinal,
        committed_at=NOW,
    )
    return Change(transition, run, f"token-{number}-{ordinal}")


@cache
def make_chain(count: int, kind: StateType = StateType.COMPLETED) -> tuple[FlowRun | TaskRun, ...]:
    """Return a chain of nested runs, the innermost of which failed."""
    last = count - 1
    return tuple(
        make_run(
            n,
            "step",
            parent=n - 1 if n else None,
            kind=StateType.FAILED if n == last else kind,
        )
        for n in range(count)
    )
