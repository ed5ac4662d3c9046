"""The two loggers of runs, and the attributes of the records that are made in runs.

Prefect's module of this name has `get_run_logger` and similar functions, so they are available here
as well.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, cast

from flowspan.core.run import current_run
from flowspan.logging.record_facts import (
    AMBIENT,
    FACTS,
    Facts,
    RunLogRecord,
    facts_of,
    names_of,
    set_facts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from flowspan.core.run import Run
    from flowspan.core.span import RunSpan


class _LoggerOfRuns(logging.Logger):
    """The part of the loggers of runs that keeps objects out of their records."""

    def makeRecord(  # noqa: N802 - as in logging
        self,
        name: str,
        level: int,
        fn: str,
        lno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        extra: Mapping[str, object] | None = None,
        sinfo: str | None = None,
    ) -> logging.LogRecord:
        """Make a record; the facts in `extra` are kept out of its attributes."""
        facts = None
        if extra is not None and FACTS in extra:
            extra = dict(extra)
            facts = cast("Facts", extra.pop(FACTS))
        # A factory of records may read the current span, as OpenTelemetry's instrumentation does.
        with _in_span_of(facts):
            record = super().makeRecord(
                name, level, fn, lno, msg, args, exc_info, func, extra, sinfo
            )
        if facts is not None and facts.run is not None:
            vars(record).update(names_of(facts.run))
            set_facts(record, facts)
        return record

    def handle(self, record: logging.LogRecord) -> None:
        """Pass a record to the handlers, in the span of its run."""
        with _in_span_of(facts_of(record)):
            super().handle(record)

    def getChild(self, suffix: str) -> _LoggerOfRuns:  # noqa: N802 - as in logging
        """Return the logger with a longer name, which is a logger of runs as well."""
        return _of_runs(super().getChild(suffix))


class _InSpan:
    """A block in which a span is current."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: RunSpan) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._token = self._span.enter()

    def __exit__(self, *_: object) -> None:
        self._span.leave(self._token)


_AS_IT_IS = nullcontext()


def _in_span_of(facts: Facts | None) -> AbstractContextManager[None]:
    """Return a block with the span of the run, unless the code of the run is current anyway."""
    run = None if facts is None else facts.run
    if facts is None or run is None or run.span is None:
        return _AS_IT_IS
    current = current_run.get()
    if not facts.is_note and current is not None and current.original is run.original:
        return _AS_IT_IS
    return _InSpan(run.span)


def _of_runs(logger: logging.Logger) -> _LoggerOfRuns:
    """Make a logger one of runs; the program may have set another class of loggers."""
    if not isinstance(logger, _LoggerOfRuns):
        kind = type(logger)
        with suppress(TypeError):  # of a class with slots, which stays as it is
            logger.__class__ = type(kind.__name__, (_LoggerOfRuns, kind), {})
    return cast("_LoggerOfRuns", logger)


FLOW_RUNS = _of_runs(logging.getLogger("flowspan.flow_runs"))
TASK_RUNS = _of_runs(logging.getLogger("flowspan.task_runs"))

_silenced_by = 0
"""Number of `silence` calls that were not undone."""


def silence(by: int) -> None:
    """Silence both loggers (1), or undo that (-1)."""
    global _silenced_by  # noqa: PLW0603 - one per process
    _silenced_by += by
    enable()


def is_silent() -> bool:
    """Return True if the loggers were silenced on purpose."""
    return _silenced_by > 0


def enable() -> None:
    """Enable the loggers, unless they were silenced on purpose.

    `logging.config.dictConfig` disables every logger that its configuration does not mention.
    """
    FLOW_RUNS.disabled = TASK_RUNS.disabled = _silenced_by > 0


def logger_of(run: Run) -> logging.Logger:
    """Return the logger for a run's kind."""
    return FLOW_RUNS if run.definition.is_flow else TASK_RUNS


def extra_of(run: Run, facts: Facts | None = None) -> dict[str, object]:
    """Return the `extra` of a run's log records: attributes for formatters, and the facts.

    Args:
        run: The run.
        facts: The facts; those of a line of the run's logger by default.
    """
    extra: dict[str, object] = {
        FACTS: facts or Facts(run),
        "run_id": run.record.id,
        "run_name": run.record.run_name,
        "flow_run_id": None,
        "flow_run_name": None,
        "flow_name": None,
    }
    if not run.definition.is_flow:
        extra["task_run_id"] = run.record.id
        extra["task_run_name"] = run.record.run_name
        extra["task_name"] = run.definition.name
    flow_run = run.flow_run
    if flow_run is not None:
        extra["flow_run_id"] = flow_run.record.id
        extra["flow_run_name"] = flow_run.record.run_name
        extra["flow_name"] = flow_run.definition.name
    return extra


class RecordFactory:
    """The factory of log records that names the current run in each of them.

    Args:
        factory: The factory that makes the records.
    """

    def __init__(self, factory: Callable[..., logging.LogRecord]) -> None:
        self.factory = factory

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        """Make a record."""
        run = current_run.get()
        factory = self.factory
        if run is None or (args and args[0] is None):
            # `logging.makeLogRecord` copies a record, and passes no name.
            return factory(*args, **kwargs)
        make = RunLogRecord if factory is logging.LogRecord else factory
        record = make(*args, **kwargs)
        vars(record).update(names_of(run))
        set_facts(record, AMBIENT)
        return record


def name_runs_in_records() -> None:
    """Install the factory, on top of the one that the program has set."""
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, RecordFactory):
        logging.setLogRecordFactory(RecordFactory(factory))


def stop_naming_runs() -> None:
    """Restore the factory of the program, unless it has set another one on top since."""
    factory = logging.getLogRecordFactory()
    if isinstance(factory, RecordFactory):
        logging.setLogRecordFactory(factory.factory)


_ELSEWHERE = ("disable_run_logger", "get_logger", "get_run_logger")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ELSEWHERE])


def __getattr__(name: str) -> object:
    if name not in _ELSEWHERE:
        from flowspan.prefect_names import refuse_name  # noqa: PLC0415 - rare

        refuse_name(__name__, name)
    from flowspan.logging import run_logger  # noqa: PLC0415 - which imports this module

    return getattr(run_logger, name)
