"""Prints with `log_prints` as log records, as the program's handlers get them."""

# ruff: noqa: T201 - prints are the subject of the tests
from __future__ import annotations

import asyncio
import io
import json
import logging
import queue
import sys
from contextlib import contextmanager
from logging.handlers import MemoryHandler, QueueHandler, QueueListener
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.run_logs import alone, said

from flowspan import flow, task
from flowspan.logging.console import is_on_console
from flowspan.logging.record_facts import AMBIENT, facts_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.recorder import Recorder


class Kept(logging.Handler):
    """Collects the records of prints."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if (facts_of(record) or AMBIENT).is_printed:
            self.records.append(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@contextmanager
def handling(handler: logging.Handler, name: str = "") -> Iterator[None]:
    logger = logging.getLogger(name or None)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@task
def plain() -> None:
    print("a", 1, sep="-")


@task
async def later() -> None:
    print("100% %s")


@flow(log_prints=True)
def outer() -> None:
    print("first\nsecond")
    print()
    print("to stderr", file=sys.stderr)
    print("elsewhere", file=io.StringIO())
    plain()
    plain.submit().result()
    later.submit().result()


@flow(log_prints=True)
async def outer_later() -> None:
    await later()


@pytest.mark.parametrize("name", ["", "flowspan", "flowspan.flow_runs"])
def test_handlers_get_prints_as_records_of_their_runs(recorder: Recorder, name: str) -> None:
    kept = Kept()
    with handling(kept, name):
        outer()
    of_flow = ["first\nsecond", "to stderr"]
    of_tasks = ["100% %s", "a-1", "a-1"]
    assert kept.texts[:2] == of_flow
    assert sorted(kept.texts[2:]) == ([] if name.endswith("runs") else of_tasks)
    record = kept.records[0]
    assert (record.name, record.levelname) == ("flowspan.flow_runs", "INFO")
    assert (record.funcName, record.filename) == ("outer", "test_prints.py")
    assert record.__dict__["flow_name"] == "outer"
    assert record.__dict__["flow_run_id"] == recorder.run("outer").id
    if not name:
        task_names = {each.__dict__.get("task_name") for each in kept.records}
        assert task_names == {None, "plain", "later"}
    # Stored only once, under the logger name that marks prints.
    assert said(recorder, "outer") == of_flow


def test_asynchronous_prints_are_records(recorder: Recorder) -> None:
    kept = Kept()
    with handling(kept):
        asyncio.run(outer_later())
    assert kept.texts == said(recorder, "later") == ["100% %s"]


def test_caplog_sees_prints(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        plain.with_options(log_prints=True)()
    assert caplog.messages == said(recorder, "plain") == ["a-1"]
    assert caplog.records[0].name == "flowspan.task_runs"


def test_a_file_gets_prints_and_they_are_printed(
    recorder: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logging.FileHandler(tmp_path / "log")
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    with alone(), handling(handler):
        plain.with_options(log_prints=True)()
    handler.close()
    assert (tmp_path / "log").read_text() == "flowspan.task_runs a-1\n"
    assert capsys.readouterr().out == "a-1\n"
    assert said(recorder, "plain") == ["a-1"]


class Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"text": record.getMessage(), "task": record.__dict__["task_name"]})


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_the_programs_console_shows_is_not_printed_too(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], stream: str
) -> None:
    handler = logging.StreamHandler(getattr(sys, stream))
    handler.setFormatter(Json())
    with alone(), handling(handler):
        plain.with_options(log_prints=True)()
    captured = capsys.readouterr()
    assert captured.out + captured.err == '{"text": "a-1", "task": "plain"}\n'
    assert said(recorder, "plain") == ["a-1"]


def test_a_console_that_shows_warnings_alone_leaves_prints_as_they_are(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    with alone(), handling(handler):
        plain.with_options(log_prints=True)()
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("a-1\n", "")
    assert said(recorder, "plain") == ["a-1"]


def test_a_handler_that_prints_makes_no_record_of_that(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("handled:", record.getMessage())

    with alone(), handling(Printing()):
        plain.with_options(log_prints=True)()
    assert capsys.readouterr().out == "a-1\nhandled: a-1\n"
    assert said(recorder, "plain") == ["a-1"]


def test_which_handlers_are_on_the_console() -> None:
    class Rich(logging.Handler):
        class console:  # noqa: N801 - rich's name
            file = sys.stdout

    assert is_on_console(Rich())
    assert is_on_console(logging.StreamHandler(sys.__stderr__))
    assert not is_on_console(logging.StreamHandler(io.StringIO()))
    assert not is_on_console(logging.NullHandler())


def test_handlers_that_pass_records_on_to_the_console() -> None:
    on_console, elsewhere = logging.StreamHandler(sys.stdout), logging.StreamHandler(io.StringIO())
    assert is_on_console(MemoryHandler(10, target=on_console))
    assert not is_on_console(MemoryHandler(10, target=elsewhere))
    assert not is_on_console(MemoryHandler(10))
    records: queue.Queue[logging.LogRecord] = queue.Queue()
    handler: Any = QueueHandler(records)
    handler.listener = None  # Before Python 3.12 this is unset; later, only some setups set it.
    assert not is_on_console(handler)
    handler.listener = QueueListener(records, elsewhere, on_console)
    assert is_on_console(handler)
