"""Batches of spans, from a store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.resources import Resource
from tests.support.memory_store import ManualClock, MemoryStore
from tests.unit.service.loops.test_span_records import make_run

from flowspan_service.api.span_facts import MessageDecoder
from flowspan_service.domain.runs import RunKind, TraceContext
from flowspan_service.domain.sessions import Session, SessionStatus
from flowspan_service.domain.span_facts import InputFacts
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.loops import span_batches
from flowspan_service.loops.span_batches import SpanBatches, counted
from flowspan_service.loops.span_records import link_to

if TYPE_CHECKING:
    from flowspan_service.domain.runs import Run

OWN = Resource({"service.name": "flowspan"})


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


def batches_of(store: MemoryStore, runs: list[Run]) -> list[list[Any]]:
    return list(SpanBatches(store, OWN, MessageDecoder()).of(runs))


def test_no_runs_no_batch(store: MemoryStore) -> None:
    assert batches_of(store, []) == []


def test_a_batch_ends_with_its_size(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [make_run(function_name=f"f{number}", tags=("x" * 300,)) for number in range(10)]
    monkeypatch.setattr(span_batches, "BATCH_CHARS", 2_000)
    batches = batches_of(store, runs)
    assert len(batches) > 2
    assert [span.name for batch in batches for span in batch] == [run.function_name for run in runs]
    monkeypatch.setattr(span_batches, "BATCH_CHARS", 1_000_000)
    monkeypatch.setattr(span_batches, "BATCH_SPANS", 4)
    assert [len(batch) for batch in batches_of(store, runs)] == [4, 4, 2]


def test_each_span_names_the_resource_of_its_client(store: MemoryStore) -> None:
    store.data.sessions["s1"] = Session(
        "s1", SessionStatus.LOST, 0, 1, 1, 1, client={"name": "flowspan-go"}
    )
    store.data.resources["s1"] = {"service.name": "etl"}
    runs = [make_run(session_id="s1"), make_run(session_id="gone"), make_run()]
    ((first, second, third),) = batches_of(store, runs)
    assert first.resource.attributes["service.name"] == "etl"
    assert second.resource is third.resource is OWN


def test_a_run_whose_span_cannot_be_made_stops_no_other(store: MemoryStore) -> None:
    broken = make_run(function_name="broken")
    assert broken.trace is not None
    broken.trace.parent_span_id = "no hex"
    ((span,),) = batches_of(store, [broken, make_run()])
    assert span.name == "fetch"


def test_a_history_that_cannot_be_read_is_an_error(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving its spans out would lose them."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("no database")

    monkeypatch.setattr(store.transitions, "page", fail)
    assert len(batches_of(store, [make_run()])) == 1
    with pytest.raises(OSError, match="no database"):
        batches_of(store, [make_run(transition_count=4)])


def test_the_names_of_flows(store: MemoryStore) -> None:
    flow, ended = make_run(id="f1", function_name="etl"), make_run(function_name="ended")
    flow.kind = ended.kind = RunKind.FLOW
    store.data.runs["f0"] = ended
    runs = [
        flow,
        make_run(flow_run_id="f1"),
        make_run(flow_run_id="f0"),
        make_run(flow_run_id="gone"),
        make_run(),
    ]
    (batch,) = batches_of(store, runs)
    names = [span.attributes.get("flowspan.flow.name") for span in batch]
    assert names == ["etl", "etl", "ended", None, None]


def test_the_last_sign_of_life_of_a_crashed_run(store: MemoryStore) -> None:
    store.data.last_signs["r1"] = 3_000_000
    ((span,),) = batches_of(store, [make_run()])
    assert span.end_time == 3_000_000_000
    completed = make_run(StateType.COMPLETED, cause=Cause.REPORTED)
    ((span,),) = batches_of(store, [completed])
    assert span.end_time == 5_000_000_000, "it came back"


def test_many_inputs_under_one_parameter_are_one_link() -> None:
    few = [InputFacts(f"a{number}", "few") for number in range(10)]
    many = [InputFacts(f"b{number}", "many") for number in range(1_000)]
    made = list(counted([*few, *many]))
    assert made == [*((each, 1) for each in few), (many[0], 1_000)]
    trace = TraceContext(f"00-{'a' * 32}-{'b' * 16}-01")
    link = link_to(many[0], trace, count=1_000)
    assert link is not None
    assert dict(link.attributes or {}) == {
        "flowspan.input.name": "many",
        "flowspan.run.id": "b0",
        "flowspan.input.count": 1_000,
    }
