"""Captured logs and prints, and their console output."""

# ruff: noqa: T201 - prints are the subject of the tests
from __future__ import annotations

import asyncio
import itertools
import logging
import sys
import threading
from typing import TYPE_CHECKING, cast

import pytest
from tests.support.run_logs import alone, said

from flowspan import flow, get_run_logger, task
from flowspan.core import engine
from flowspan.core.durations import duration
from flowspan.core.events import LOG, STATE
from flowspan.core.run import current_run
from flowspan.exceptions import NoRunError, ParameterError
from flowspan.logging import capture, set_console

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

    from flowspan.core.run import Run


def test_the_run_logger_and_ordinary_logging(recorder: Recorder) -> None:
    logging.getLogger().setLevel(logging.INFO)

    @task
    def inner() -> None:
        logging.getLogger("my.module").info("from %s", "logging")
        logging.getLogger("my.module").debug("too fine")
        get_run_logger().error("bad", exc_info=ValueError("no"))

    @flow
    def outer() -> None:
        get_run_logger().warning("in the flow")
        inner()

    logging.getLogger("my.module").info("outside")
    outer()
    assert said(recorder, "outer") == ["in the flow"]
    first, second = said(recorder, "inner")
    assert first == "from logging"
    assert second.startswith("bad\n")
    assert "ValueError: no" in second
    events = [event for event in recorder.events if event[0] == LOG]
    by_text = {event[6].split("\n")[0]: event for event in events}
    _, run_id, attempt, level, time_ns, logger, _, trace_id, span_id = by_text["bad"]
    assert (run_id, attempt, level) == (recorder.run("inner").id, 1, logging.ERROR)
    assert logger == "flowspan.task_runs"
    assert (trace_id, span_id) == ("", "")
    assert abs(time_ns - recorder.last_event("inner")[6]) < 60e9
    assert by_text["from logging"][5] == "my.module"
    assert by_text["in the flow"][5] == "flowspan.flow_runs"


def test_the_attempt_that_logged_is_known(recorder: Recorder) -> None:
    @task(retries=1)
    def flaky() -> None:
        get_run_logger().info("here")
        if len(said(recorder, "flaky")) < 2:
            raise ValueError

    flaky()
    attempts = [event[2] for event in recorder.events if event[0] == LOG and event[6] == "here"]
    assert attempts == [1, 2]


def test_a_run_logger_keeps_its_run_in_other_threads(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        logger = get_run_logger()
        thread = threading.Thread(target=lambda: logger.info("elsewhere", extra={"mine": 1}))
        thread.start()
        thread.join()

    outer()
    assert said(recorder, "outer") == ["elsewhere"]


def test_there_is_no_run_logger_outside_of_runs() -> None:
    with pytest.raises(NoRunError, match=r"logging\.getLogger"):
        get_run_logger()


def test_flowspans_own_workings_are_not_reported(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        for name in (
            "grpc",
            "grpc.aio",
            "flowspan",
            "flowspan.reporter.transport.stream",
            "opentelemetry.sdk",
        ):
            logging.getLogger(name).error("not for the run")
        logging.getLogger("grpcurl").error("for the run")

    outer()
    assert said(recorder, "outer") == ["for the run"]


def test_installing_twice_does_not_double(recorder: Recorder) -> None:
    capture.install(recorder.events.append, "INFO", console=False)

    @flow
    def outer() -> None:
        get_run_logger().info("once")

    outer()
    assert said(recorder, "outer") == ["once"]


def test_a_message_that_cannot_be_formatted_does_no_harm(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)

    @flow
    def outer() -> int:
        logger = logging.getLogger("my.module")
        logger.propagate = True
        record = logger.makeRecord("my.module", 40, "f", 1, "%d", ("x",), None)
        capture._report_handler.handle(record)
        capture._console_handler.handle(record)
        return 1

    assert outer() == 1
    assert said(recorder, "outer") == []


def test_a_print_makes_the_text_of_what_it_prints_once(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    class Counting:
        texts = 0

        def __str__(self) -> str:
            Counting.texts += 1
            return f"text {Counting.texts}"

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            Counting.texts += 1
            return self

    @flow(log_prints=True)
    def outer() -> None:
        print(Counting(), Text("b"), sep="-", end="!\n")
        with open("/dev/null", "w") as file:
            print(Counting(), file=file)
        with pytest.raises(TypeError, match="sep"):
            print("a", sep=5)  # type: ignore[call-overload] # the subject of the test

    outer()
    assert Counting.texts == 3
    assert said(recorder, "outer") == ["text 1-b!"]
    assert capsys.readouterr().out == "text 1-b!\n"


@pytest.mark.parametrize("raises", [True, False])
def test_what_a_handler_or_filter_of_the_program_raises_ends_no_run(
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    raises: bool,
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", raises)

    def broken(record: logging.LogRecord) -> bool:
        raise RuntimeError("a filter")

    @flow
    def outer() -> int:
        return 1

    loggers = logging.getLogger("flowspan.flow_runs")
    loggers.addFilter(broken)
    try:
        assert outer() == 1
    finally:
        loggers.removeFilter(broken)
    assert recorder.end("outer") == ("COMPLETED", "Completed")
    assert ("RuntimeError: a filter" in capsys.readouterr().err) is raises


def test_prints_are_logged_where_it_is_asked_for(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    @task
    def inherits() -> None:
        print("from the task", 1, sep="-")

    @task(log_prints=False)
    def refuses() -> None:
        print("not logged")

    @flow
    def inner() -> None:
        print("inner")

    @flow(log_prints=True)
    def outer() -> None:
        print("hello\n", end="")
        print("to stderr", file=sys.stderr)
        with open("/dev/null", "w") as file:
            print("to a file", file=file)
        print()
        inherits()
        refuses()
        inner()
        inherits.submit().wait()

    outer()
    print("outside")
    assert said(recorder, "outer") == ["hello", "to stderr"]
    assert said(recorder, "inner") == ["inner"]
    tasks = [run for run in recorder.runs if run.function_name == "inherits"]
    assert [recorder.logs(run) for run in tasks] == [["from the task-1"]] * 2
    assert said(recorder, "refuses") == []
    captured = capsys.readouterr()
    assert "hello" in captured.out
    assert "not logged" in captured.out
    assert "to stderr" in captured.err


def test_prints_are_not_logged_by_default(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        print("quietly")

    outer()
    assert said(recorder, "outer") == []


def test_prints_of_asynchronous_runs(recorder: Recorder) -> None:
    @flow(log_prints=True)
    async def inner(x: int) -> None:
        await asyncio.sleep(0)
        print(x)

    async def main() -> None:
        await asyncio.gather(inner(1), inner(2))

    asyncio.run(main())
    assert sorted(text for run in recorder.runs for text in recorder.logs(run))[-2:] != ["1", "2"]
    assert {t for run in recorder.runs for t in recorder.logs(run) if len(t) == 1} == {"1", "2"}


def test_the_console_shows_runs_once(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    @flow(flow_run_name="the-run", log_prints=True)
    def outer() -> None:
        get_run_logger().warning("look here")
        print("printed")

    with alone():
        outer()
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if "look here" in line]
    clock, level, rest = line.split(" | ")
    assert len(clock) == len("12:34:56.789")
    assert (level.strip(), rest) == ("WARNING", "Flow run 'the-run' - look here")
    assert not any("printed" in line for line in lines)  # Standard output already shows it.

    with alone():
        before = set_console(False)
        outer()
    assert before is True
    assert capsys.readouterr().err == ""


def test_the_console_is_quiet_where_the_program_shows_its_logs(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logging.StreamHandler(sys.stderr)

    @flow
    def outer() -> None:
        get_run_logger().warning("look here")

    with alone():
        logging.getLogger().addHandler(handler)
        outer()
        logging.getLogger().removeHandler(handler)
    assert capsys.readouterr().err.count("look here") == 1


def test_warnings_outside_of_runs_are_shown_as_before(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    with alone():
        logging.getLogger("my.module").warning("outside")
        logging.getLogger("my.module").info("not shown by Python either")
    assert capsys.readouterr().err == "outside\n"


def test_the_root_level_is_lowered_only_where_nobody_set_logging_up(recorder: Recorder) -> None:
    root = logging.getLogger()
    others = [handler for handler in root.handlers if handler not in capture._own]
    root.setLevel(logging.WARNING)
    capture.install(recorder.events.append, "INFO", console=False)
    assert root.level == logging.WARNING  # pytest has handlers.
    for handler in others:
        root.removeHandler(handler)
    try:
        capture.install(recorder.events.append, "INFO", console=False)
        assert root.level == logging.INFO
    finally:
        for handler in others:
            root.addHandler(handler)


def test_handlers_come_back_after_basic_config_with_force(recorder: Recorder) -> None:
    root = logging.getLogger()
    before = list(root.handlers)

    @flow
    def outer() -> None:
        get_run_logger().warning("still here")

    try:
        for handler in before:
            root.removeHandler(handler)
        outer()
    finally:
        for handler in before:
            if handler not in root.handlers:
                root.addHandler(handler)
    assert said(recorder, "outer") == ["still here"]


def test_a_line_says_how_long_a_run_ran_as_the_commands_do(recorder: Recorder) -> None:
    @flow(retries=1, retry_delay_seconds=0.5)
    def again() -> None:
        if next(calls) == 0:
            raise ValueError("no")

    calls = itertools.count()
    again()
    (run,) = recorder.runs
    times = [e[6] for e in recorder.events if e[0] == STATE and e[1] == run.id]
    running, waiting, retrying, completed = times
    ran_s = (completed - retrying + waiting - running) / 1e9
    (line,) = [text for text in recorder.logs(run) if text.startswith("Completed")]
    # The half second between the attempts does not count.
    assert line == f"Completed after {duration(ran_s)}."


def test_a_run_that_never_began_took_no_time(recorder: Recorder) -> None:
    @flow
    def takes(number: int) -> int:
        return number

    with pytest.raises(ParameterError):
        takes("x")  # type: ignore[arg-type]
    assert recorder.logs("takes")[0].startswith("Failed without running: ")


@pytest.mark.parametrize(
    ("waited_ns", "ran_ns", "words"),
    [
        (0, 47_300, "after 47µs"),
        (5_000_000, 300_000, "after 0.3ms"),
        (999_000_000, 32_900_000, "after 33ms"),
        (1_500_000_000, 32_900_000, "after 33ms, waited 1.5s"),
        (1_500_000_000, 83_460_000_000, "after 1m 23s"),
        (0, 52_500_400_000_000, "after 14h 35m"),
        (2_000_000_000, None, "without running"),
    ],
)
def test_how_long_a_run_took_is_said_as_the_commands_show_it(
    recorder: Recorder, waited_ns: int, ran_ns: int | None, words: str
) -> None:
    runs: list[Run] = []

    @flow
    def outer() -> None:
        runs.append(cast("Run", current_run.get()))

    outer()
    (run,) = runs
    run.ran_ns = 0
    run.running_since_ns = 0 if ran_ns is None else run.created_ns + waited_ns
    ended_ns = run.created_ns + waited_ns + (ran_ns or 0)
    assert engine._time_words(run, ended_ns) == words
