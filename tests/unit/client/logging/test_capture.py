"""The run logger as Prefect users use it, and programs that configure logging."""

from __future__ import annotations

import logging
import logging.config
import warnings
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from tests.support.run_logs import alone, said

from flowspan import flow, get_run_logger, task
from flowspan.context import get_run_context
from flowspan.core.events import LOG
from flowspan.exceptions import MissingContextError
from flowspan.logging import capture, disable_run_logger, get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.recorder import Recorder


@contextmanager
def formatted(form: str) -> Iterator[StringIO]:
    """Yield the output of a handler with this format."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(form))
    logging.getLogger("flowspan").addHandler(handler)
    try:
        yield stream
    finally:
        logging.getLogger("flowspan").removeHandler(handler)


@contextmanager
def unchanged(*names: str) -> Iterator[None]:
    """Restore all loggers, including the named ones, afterwards."""
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in names)]
    known = logging.getLogger().manager.loggerDict.values()
    loggers += [logger for logger in known if isinstance(logger, logging.Logger)]
    before = [(x, x.level, x.propagate, x.disabled, list(x.handlers)) for x in loggers]
    try:
        yield
    finally:
        for logger, level, propagate, disabled, handlers in before:
            logger.setLevel(level)
            logger.propagate, logger.disabled, logger.handlers[:] = propagate, disabled, handlers


def test_records_carry_the_run_for_formatters(recorder: Recorder) -> None:
    @task
    def step() -> None:
        get_run_logger(request="r").warning("one", extra={"more": "m"})
        get_run_logger(get_run_context()).getChild("sub", {"more": "c", "request": "q"}).error(
            "two"
        )

    @flow(flow_run_name="mine")
    def outer() -> None:
        context = get_run_context()
        step()
        get_run_logger(context, request="f").warning("three", extra={"more": "x"})

    form = "%(message)s %(flow_name)s %(flow_run_name)s %(request)s %(more)s"
    with formatted(form) as stream:
        logging.getLogger("flowspan").handlers[-1].setLevel(logging.WARNING)
        outer()
    assert stream.getvalue().splitlines() == [
        "one outer mine r m",
        "two outer mine q c",
        "three outer mine f x",
    ]
    with formatted("%(task_name)s %(task_run_name)s %(task_run_id)s %(flow_run_id)s") as stream:
        logging.getLogger("flowspan").handlers[-1].setLevel(logging.ERROR)
        step_alone = task(lambda: get_run_logger().error("alone"), name="alone")
        step_alone()
    run = recorder.run("alone")
    assert stream.getvalue().split() == ["alone", run.run_name, run.id, "None"]
    assert said(recorder, "step") == ["one", "two"]
    loggers = {event[6]: event[5] for event in recorder.events if event[0] == LOG}
    assert loggers["two"] == "flowspan.task_runs.sub"


def test_what_is_no_context_is_refused(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        with pytest.raises(TypeError, match=r"get_run_context\(\)"):
            get_run_logger("nonsense")

    outer()


def test_the_exception_of_a_record_is_stored(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        try:
            raise KeyError("k")
        except KeyError:
            get_run_logger().exception("caught")
            get_run_logger().error("again", exc_info=True)

    outer()
    for text in said(recorder, "outer"):
        assert text.splitlines()[0] in {"caught", "again"}
        assert text.splitlines()[-1] == "KeyError: 'k'"


def test_disabling_the_run_logger(recorder: Recorder) -> None:
    @task
    def step() -> int:
        get_run_logger().warning("from the task")
        return 3

    with pytest.raises(MissingContextError, match="disable_run_logger"):
        step.fn()
    with disable_run_logger():
        with disable_run_logger():
            assert step.fn() == 3
        step()
    assert recorder.logs() == []
    step()
    assert recorder.logs() == ["from the task"]
    with pytest.raises(MissingContextError):
        step.fn()


def test_an_ordinary_logger_by_prefects_way(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        get_logger("my.module").warning("one")
        get_logger().warning("two")

    outer()
    assert said(recorder, "outer") == ["one", "two"]


def test_logging_may_be_set_up_after_the_first_run(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    @flow
    def outer() -> None:
        logging.basicConfig(format="program: %(message)s")
        logging.getLogger("mine").warning("here")
        logging.getLogger("mine").info("too fine for this program")

    with unchanged(), alone():
        logging.getLogger().setLevel(logging.WARNING)
        capture.install(recorder.events.append, "INFO", console=True)
        assert logging.getLogger().level == logging.INFO
        outer()
        assert logging.getLogger().level == logging.WARNING
        logging.basicConfig(format="a second time: %(message)s")
        logging.getLogger("mine").warning("outside")
    assert said(recorder, "outer") == ["here"]
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "here" in line or "outside" in line] == [
        "program: here",
        "program: outside",
    ]


def test_a_configuration_by_dictionary_silences_no_run(recorder: Recorder) -> None:
    @task
    def step() -> None:
        get_run_logger().warning("in the task")

    @flow
    def outer() -> None:
        logging.config.dictConfig({"version": 1, "root": {"level": "WARNING", "handlers": []}})
        assert capture._report_handler not in logging.getLogger().handlers
        get_run_logger().warning("in the flow")
        step()

    with unchanged():
        outer()
    assert said(recorder, "outer") == ["in the flow"]
    assert said(recorder, "step") == ["in the task"]


def test_a_handler_that_is_added_later_gets_what_it_should(recorder: Recorder) -> None:
    stream = StringIO()

    @flow
    def outer() -> None:
        logging.getLogger().addHandler(logging.StreamHandler(stream))
        logging.getLogger("mine").warning("here")

    with unchanged():
        outer()
    assert "here\n" in stream.getvalue()
    assert said(recorder, "outer") == ["here"]


def test_loggers_that_do_not_propagate_are_extra(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        for name in ("closed", "fine", "closed.below", "other"):
            logging.getLogger(name).info("from %s", name)
            logging.getLogger(name).debug("too fine")

    with unchanged("closed", "fine", "closed.below", "other"):
        logging.getLogger().setLevel(logging.WARNING)
        logging.getLogger("closed").propagate = False
        outer.with_options(name="first")()
        assert said(recorder, "first") == []
        capture.install(
            recorder.events.append, "INFO", console=False, extra_loggers=("closed", "fine")
        )
        outer()
    # Each appears once, although the propagating ones reach the root logger as well.
    assert said(recorder, "outer") == ["from closed", "from fine", "from closed.below"]


def test_warnings_of_python_are_stored_where_they_are_logged(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        warnings.warn("look out", stacklevel=1)

    with warnings.catch_warnings(), unchanged():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        try:
            outer()
        finally:
            logging.captureWarnings(False)
    (text,) = said(recorder, "outer")
    assert "UserWarning: look out" in text


def test_run_loggers_that_do_not_reach_the_root_logger_are_stored(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        get_run_logger().warning("here")

    with unchanged("flowspan", "flowspan.flow_runs"):
        logging.getLogger("flowspan").propagate = False
        outer()
    assert said(recorder, "outer") == ["here"]
