"""The place of a run, which follows from its parent."""

from __future__ import annotations

import pytest

from flowspan_service.domain.rules.families import put_below
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.states import State, StateType

FLOW, TASK = RunKind.FLOW, RunKind.TASK


def a_run(run_id: str, kind: RunKind, root: str, flow: str | None) -> Run:
    state = State(StateType.PENDING, "Pending", "", 1)
    return Run(run_id, kind, "f", "", "p", root, flow, (), None, None, "", 1, state)


@pytest.mark.parametrize(
    ("parent", "kind", "place"),
    [
        (a_run("p", FLOW, "top", None), FLOW, ("top", None)),
        (a_run("p", FLOW, "top", None), TASK, ("top", "p")),
        (a_run("p", TASK, "top", "flow"), FLOW, ("top", None)),
        (a_run("p", TASK, "top", "flow"), TASK, ("top", "flow")),
        (a_run("p", TASK, "p", None), TASK, ("p", None)),
    ],
)
def test_place_below_a_parent(parent: Run, kind: RunKind, place: tuple[str, str | None]) -> None:
    run = a_run("r", kind, "what the client says", "what the client says")
    put_below(run, parent)
    assert (run.root_run_id, run.flow_run_id) == place
