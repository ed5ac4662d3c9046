"""The decision whether and where log lines are exported, and the lines that wait for it."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import pytest
from tests.unit.client.telemetry.test_log_records import line

from flowspan.telemetry import logs as logs_module
from flowspan.telemetry.log_records import LogEncoder
from flowspan.telemetry.logs import LogExport

OTLP = {"OTEL_LOGS_EXPORTER": "otlp"}
TOLD = ("http/protobuf", "http://told:4318/v1/logs")
NOTHING = ("", "")


class Queue:
    """Stands in for the queue; keeps what is put into it."""

    made: list[Queue]

    def __init__(self, target: Any) -> None:
        self.target = target
        self.texts: list[str] = []
        self.made.append(self)

    def put(self, item: Any, size: int) -> None:
        assert size >= len(item.text)
        self.texts.append(item.text)

    def flush(self, timeout_s: float) -> bool:
        return True

    def shutdown(self) -> None:
        self.texts.append("the end")

    close = shutdown


@pytest.fixture(autouse=True)
def queues(monkeypatch: pytest.MonkeyPatch) -> list[Queue]:
    monkeypatch.setattr(Queue, "made", [], raising=False)
    monkeypatch.setattr(logs_module, "_queue_to", lambda target, *_: Queue(target))
    monkeypatch.setattr(logs_module, "has_logger_provider", lambda: False)
    return Queue.made


def never(_timeout_s: float) -> None:
    raise AssertionError("the service was asked")


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_LOGS_EXPORTER": "none"},
        {"OTEL_LOGS_EXPORTER": "NONE "},
        {**OTLP, "OTEL_SDK_DISABLED": "true"},
        {"OTEL_LOGS_EXPORTER": "unknown"},
        {**OTLP, "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
    ],
    ids=["none", "none in capitals", "disabled", "unknown", "malformed"],
)
def test_nothing_is_exported(environ: dict[str, str], queues: list[Queue]) -> None:
    export = LogExport(never, environ)
    assert not export.put(line())
    assert not export.put(line())
    assert not export.is_on
    assert not queues


def test_a_logger_provider_of_the_program_wins(
    queues: list[Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "has_logger_provider", lambda: True)
    assert not LogExport(lambda _: TOLD, OTLP).put(line())
    assert not queues


def test_the_variables_of_the_signal_name_the_receiver(queues: list[Queue]) -> None:
    environ = {
        **OTLP,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs:1/x",
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf",
    }
    export = LogExport(never, environ)
    assert export.put(line())
    assert (queues[0].target.url, queues[0].target.signal) == ("http://logs:1/x", "logs")
    del environ["OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"]
    LogExport(never, environ).put(line())
    assert queues[1].target.url == "http://a:1/v1/logs"


def test_the_setting_names_the_receiver_unless_a_variable_does(queues: list[Queue]) -> None:
    environ = dict(OTLP)
    LogExport(never, environ, endpoint="http://set:1").put(line())
    assert queues[0].target.url == "http://set:1"
    environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://a:1"
    LogExport(never, environ, endpoint="http://set:1").put(line())
    assert queues[1].target.url == "http://a:1"


def test_lines_wait_for_the_answer_of_the_service(queues: list[Queue]) -> None:
    answers: list[tuple[str, str] | None] = [None, None, TOLD]
    export = LogExport(lambda _: answers.pop(0), {"OTEL_EXPORTER_OTLP_HEADERS": "a=b"})
    assert export.put(line(text="1"))
    assert export.put(line(text="2"))
    assert not export.is_on
    assert export.put(line(text="3"))
    assert export.is_on
    assert export.put(line(text="4"))
    [queue] = queues
    assert queue.texts == ["1", "2", "3", "4"]
    assert (queue.target.url, queue.target.protocol) == (TOLD[1], TOLD[0])
    assert queue.target.headers == (("a", "b"),)


def test_a_service_without_a_receiver_ends_it(queues: list[Queue]) -> None:
    answers: list[tuple[str, str] | None] = [None, NOTHING]
    export = LogExport(lambda _: answers.pop(0), {})
    assert export.put(line())
    assert not export.put(line())
    assert not queues


def test_lines_that_wait_too_long_are_bounded(queues: list[Queue]) -> None:
    answer: list[tuple[str, str] | None] = [None]
    export = LogExport(lambda _: answer[0], {})
    for number in range(logs_module._MAX_WAITING + 5):
        export.put(line(text=str(number)))
    answer[0] = TOLD
    export.flush(0)
    assert len(queues[0].texts) == logs_module._MAX_WAITING
    assert queues[0].texts[0] == "5"


def test_the_end_of_a_short_program_still_decides(queues: list[Queue]) -> None:
    answers: list[tuple[str, str] | None] = [None, TOLD]
    export = LogExport(lambda _: answers.pop(0), {})
    export.put(line(text="only"))
    export.shutdown()
    assert queues[0].texts == ["only", "the end"]


def test_lines_of_several_threads_are_all_passed_on(queues: list[Queue]) -> None:
    answered = threading.Event()
    export = LogExport(lambda _: TOLD if answered.is_set() else None, {})

    def put_many() -> None:
        for _ in range(200):
            export.put(line())

    threads = [threading.Thread(target=put_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    answered.set()
    for thread in threads:
        thread.join()
    export.flush(0)
    assert len(queues) == 1
    assert len(queues[0].texts) == 800


def test_a_forked_child_does_not_send_the_lines_of_its_parent(queues: list[Queue]) -> None:
    answer: list[tuple[str, str] | None] = [None]
    export = LogExport(lambda _: answer[0], {})
    export.put(line(text="of the parent"))
    export.after_fork()
    answer[0] = TOLD
    export.put(line(text="of the child"))
    assert queues[0].texts == ["of the child"]


def test_a_record_adds_its_place_and_its_exception(queues: list[Queue]) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("n", 40, "/a/b.py", 12, "m %s", ("x",), sys.exc_info(), "f")
    text = logging.Formatter().format(record)
    attributes, body = logs_module._with_record({"flowspan.run.id": "r"}, text, record)
    assert body == "m x"
    assert attributes["flowspan.run.id"] == "r"
    assert attributes["code.function.name"] == "f"
    assert attributes["code.file.path"] == "/a/b.py"
    assert attributes["code.line.number"] == 12
    assert attributes["exception.type"] == "ValueError"
    assert attributes["exception.message"] == "no"


def test_a_record_adds_the_plain_values_of_its_extra() -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

    record = logging.LogRecord("n", 20, "/a/b.py", 12, "m", (), None, "f")
    vars(record).update(
        {
            "order": 5,
            "customer": "größer",
            "long": "x" * 100_000,
            "share": 0.5,
            "is_new": True,
            "hostile": Hostile(),
            "nothing": None,
            "flow_run_id": "named already",
            "flowspan.run.id": "another",
        }
    )
    attributes, _ = logs_module._with_record({"flowspan.run.id": "r"}, "m", record)
    assert len(attributes.pop("long").encode()) <= logs_module._MAX_EXTRA_BYTES
    assert attributes == {
        "order": 5,
        "customer": "größer",
        "share": 0.5,
        "is_new": True,
        "flowspan.run.id": "r",
        "code.function.name": "f",
        "code.file.path": "/a/b.py",
        "code.line.number": 12,
    }


@pytest.mark.parametrize("text", ["", "a" * 100_000, "größer" * 10_000, "🙂" * 10_000])
def test_a_line_is_at_most_as_large_as_it_is_counted(text: str) -> None:
    usual = {
        "flowspan.run.id": "r" * 36,
        "flowspan.run.name": "ü" * 128,
        "flowspan.flow.name": "🙂" * 64,
        "flowspan.flow_run.id": "r" * 36,
        "flowspan.root_run.id": "r" * 36,
        "flowspan.attempt": 1,
        "code.function.name": "f" * 100,
        "code.file.path": "/ü" * 2000,
        "code.line.number": 1,
    }
    for extra in ({}, {"a" * 50: text, "b": 0.5}):
        made = line(text=text, logger="l" * 256, attributes=usual | extra)
        assert len(LogEncoder(dict).request([made])) <= logs_module._size_of(made)


def test_the_resource_is_that_of_the_environment_or_the_provider() -> None:
    attributes = logs_module.process_attributes({"OTEL_SERVICE_NAME": "named"})
    assert "service.name" in attributes
