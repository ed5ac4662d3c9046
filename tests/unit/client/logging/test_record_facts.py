"""The attributes of the log records of runs, as the program's own handlers see them."""

# ruff: noqa: T201 - prints are among the subjects of the tests
from __future__ import annotations

import copy
import gc
import json
import logging
import pickle
import queue
import threading
from logging.handlers import QueueHandler, QueueListener
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.run_logs import alone, said

from flowspan import flow, get_run_logger, task
from flowspan.context import get_run_context
from flowspan.logging import capture, loggers
from flowspan.logging.record_facts import RUN_ID, _table, facts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.recorder import Recorder

PLAIN = {str, int, float, bool, type(None)}
OF_LOGGING = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
own = logging.getLogger("own.module")


class Kept(logging.Handler):
    """Keeps all records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def added(self, index: int) -> dict[str, Any]:
        """Return the attributes of a record that logging itself does not have."""
        return {k: v for k, v in vars(self.records[index]).items() if k not in OF_LOGGING}


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, root = Kept(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)


@task(retries=1)
def step(fails: int) -> None:
    own.warning("a line of the module")
    print("a print")
    if fails >= get_run_context().run.run_count:
        raise ValueError("no")


@flow(log_prints=True, flow_run_name="mine")
def lines_of_all_kinds() -> None:
    get_run_logger(request="r").warning("a line of the run", extra={"more": 1})
    step(1)
    step(2, return_state=True)


def test_every_line_carries_plain_values_only(recorder: Recorder, kept: Kept) -> None:
    lines_of_all_kinds()
    texts = [record.getMessage() for record in kept.records]
    assert any("Retry 1/1" in text for text in texts)
    assert any("Failed after" in text for text in texts)
    assert texts.count("a print") == 4
    for index in range(len(texts)):
        added = kept.added(index)
        assert {type(value) for value in added.values()} <= PLAIN, added
        assert RUN_ID in added
        json.dumps(added)


def test_the_names_are_those_of_spans(recorder: Recorder, kept: Kept) -> None:
    lines_of_all_kinds()
    record = next(r for r in kept.records if r.name == "own.module" and r.lineno)
    flow_run = recorder.run("lines-of-all-kinds")
    task_run = next(run for run in recorder.runs if run.function_name == "step")
    added = kept.added(kept.records.index(record))
    assert added == {
        "flowspan.run.id": task_run.id,
        "flowspan.run.name": "step-0",
        "flowspan.flow.name": "lines-of-all-kinds",
        "flowspan.flow_run.id": flow_run.id,
        "flowspan.root_run.id": flow_run.id,
        "flowspan.attempt": 1,
    }
    attempts = [
        vars(r)["flowspan.attempt"]
        for r in kept.records
        if r.getMessage() == "a line of the module"
    ]
    assert attempts == [1, 2, 1, 2]


def test_a_run_logger_names_its_run_in_the_code_of_another(recorder: Recorder, kept: Kept) -> None:
    @task
    def inner(logger: logging.LoggerAdapter[logging.Logger]) -> None:
        logger.warning("of the flow")
        thread = threading.Thread(target=logger.warning, args=("of the flow, too",))
        thread.start()
        thread.join()

    @flow
    def outer() -> None:
        inner(get_run_logger().getChild("below"))

    outer()
    of_flow = [r for r in kept.records if r.getMessage().startswith("of the flow")]
    assert {r.name for r in of_flow} == {"flowspan.flow_runs.below"}
    ids = {vars(r)[RUN_ID] for r in of_flow}
    assert ids == {recorder.run("outer").id}
    assert said(recorder, "outer") == ["of the flow", "of the flow, too"]


def test_outside_of_runs_records_are_unchanged(recorder: Recorder, kept: Kept) -> None:
    lines_of_all_kinds()
    own.warning("outside")
    assert kept.added(-1) == {}


def test_copies_survive_and_are_not_reported_again(recorder: Recorder, kept: Kept) -> None:
    @flow
    def outer() -> None:
        get_run_logger().warning("once")
        own.warning("once more")
        for record in list(kept.records):
            if "once" not in record.getMessage():
                continue
            for other in (
                copy.copy(record),
                copy.deepcopy(record),
                pickle.loads(pickle.dumps(record)),  # noqa: S301 - made here
                logging.makeLogRecord(json.loads(json.dumps(vars(record)))),
            ):
                assert vars(other)[RUN_ID] == vars(record)[RUN_ID]
                assert facts_of(other) is None
                logging.getLogger().handle(other)

    outer()
    assert said(recorder, "outer") == ["once", "once more"]


def test_a_queue_and_its_listener_see_the_names(recorder: Recorder) -> None:
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    target, root = Kept(), logging.getLogger()
    handler = QueueHandler(records)
    listener = QueueListener(records, target)
    root.addHandler(handler)
    listener.start()
    try:
        lines_of_all_kinds()
    finally:
        listener.stop()
        root.removeHandler(handler)
    assert target.records
    assert all(RUN_ID in vars(record) for record in target.records)


@pytest.mark.parametrize("is_own", [True, False], ids=["own class", "usual class"])
def test_nothing_is_kept_of_records_that_are_gone(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, is_own: bool
) -> None:
    made: list[int] = []

    class Own(logging.LogRecord):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(len(_table))

    if is_own:
        monkeypatch.setattr(logging, "_logRecordFactory", loggers.RecordFactory(Own))
    with alone():  # pytest keeps the records
        gc.collect()
        before = set(_table)
        lines_of_all_kinds()
        gc.collect()
        assert set(_table) <= before
    assert bool(made) == is_own


def test_the_programs_record_factory_still_makes_the_records(
    recorder: Recorder, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(logging.LogRecord):
        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __hash__(self) -> int:
            raise AssertionError

    monkeypatch.setattr(logging, "_logRecordFactory", loggers.RecordFactory(Own))
    lines_of_all_kinds()
    assert {type(record) for record in kept.records} == {Own}
    assert all(RUN_ID in vars(record) for record in kept.records)


def test_a_factory_set_later_keeps_the_lines_of_the_run_logger(
    recorder: Recorder, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow
    def outer() -> None:
        monkeypatch.setattr(logging, "_logRecordFactory", logging.LogRecord)
        own.warning("reported as before")
        get_run_logger().warning("and named")

    outer()
    assert said(recorder, "outer") == ["reported as before", "and named"]
    assert RUN_ID not in kept.added([r.name for r in kept.records].index("own.module"))
    assert RUN_ID in kept.added(-2 if kept.records[-1].msg.startswith("Completed") else -1)


def test_installing_again_adds_no_second_factory_and_uninstalling_removes_it(
    recorder: Recorder,
) -> None:
    first = logging.getLogRecordFactory()
    assert isinstance(first, loggers.RecordFactory)
    capture.install(recorder.events.append, "INFO", console=False)
    assert logging.getLogRecordFactory() is first
    capture.uninstall()
    assert logging.getLogRecordFactory() is first.factory


def test_an_unusual_class_of_loggers_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    class Verbose(logging.Logger):
        def shout(self, text: str) -> None:
            self.warning(text.upper())

    monkeypatch.setattr(logging.getLogger().manager, "loggerClass", Verbose)
    child: Any = loggers.FLOW_RUNS.getChild("of_the_test")
    assert isinstance(child, Verbose)
    assert type(child).makeRecord is type(loggers.FLOW_RUNS).makeRecord
    assert child.getChild("deeper").name == "flowspan.flow_runs.of_the_test.deeper"


def test_a_handler_of_opentelemetry_leaves_the_console_to_flowspan(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    class LoggingHandler(logging.NullHandler):
        pass

    root, handler = logging.getLogger(), LoggingHandler()
    with alone():
        root.addHandler(handler)
        try:
            lines_of_all_kinds()
            own.warning("outside")
            assert "a line of the run" not in capsys.readouterr().err
            LoggingHandler.__module__ = "opentelemetry.sdk._logs._internal"
            lines_of_all_kinds()
            own.warning("outside")
        finally:
            root.removeHandler(handler)
    shown = capsys.readouterr().err
    assert "a line of the run" in shown
    assert "outside" not in shown
