"""Facts about the log records of runs: some for every handler, some for flowspan's own.

The attributes of a record belong to the program's handlers and formatters. JSON formatters write
all of them, and OpenTelemetry's handler sends them. They are therefore plain values, under the
names that spans use as well. Objects are kept in slots of a subclass of `LogRecord`; for records of
a program's own class, in a table of weak references. Copies of a record (by `copy`, pickling or a
`QueueHandler`) carry the attributes and no facts. flowspan's handlers ignore such copies, because
they have seen the original.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowspan.core.run import Run

FACTS = "flowspan_facts"
"""The key of `Facts` in the `extra` of a log call; the loggers of runs remove it."""
RUN_ID = "flowspan.run.id"


class Facts(NamedTuple):
    """The facts about a record that only flowspan's own handlers see.

    Attributes:
        run: The run that the record belongs to; None for that whose code is current, so that a
            program that keeps its records does not keep its runs.
        stored: The text to report, if it is longer than the shown one; else empty.
        state_name: The state in which the run ended, for colouring; else empty.
        is_printed: True for a print, which is stored and shown separately.
        is_note: True for flowspan's own line about the run, whatever code is current.
        is_shown_only: True if the record must not be reported.
    """

    run: Run | None
    stored: str = ""
    state_name: str = ""
    is_printed: bool = False
    is_note: bool = False
    is_shown_only: bool = False


AMBIENT = Facts(None)
"""The facts about a record of a logger that is not the run's, made while its code is current."""


class RunLogRecord(logging.LogRecord):
    """A log record made in a run, with its facts out of sight.

    Attributes:
        facts: The facts.
        is_reported: True if the record was reported.
    """

    __slots__ = ("facts", "is_reported")

    facts: Facts
    is_reported: bool

    def __reduce__(self) -> tuple[Callable[..., logging.LogRecord], tuple[dict[str, Any]]]:
        """Copy and pickle it as a plain record, without the facts."""
        return logging.makeLogRecord, (dict(vars(self)),)


class _Entry:
    """The facts about a record of a program's own class."""

    __slots__ = ("facts", "is_reported", "record")

    def __init__(self, record: logging.LogRecord, facts: Facts) -> None:
        key = id(record)  # the class may define equality
        self.facts = facts
        self.is_reported = False
        self.record = ref(record, lambda _: _table.pop(key, None))


_table: dict[int, _Entry] = {}


def facts_of(record: logging.LogRecord) -> Facts | None:
    """Return the facts about a record; None for a copy, and for a record made outside of runs."""
    if type(record) is RunLogRecord:
        return record.facts
    entry = _table.get(id(record)) if _table else None
    return None if entry is None else entry.facts


def set_facts(record: logging.LogRecord, facts: Facts) -> None:
    """Set or replace the facts about a record. They are forgotten with the record."""
    if type(record) is RunLogRecord:
        record.facts, record.is_reported = facts, False
    else:
        _table[id(record)] = _Entry(record, facts)


def report_once(record: logging.LogRecord) -> bool:
    """Return True the first time, for a record that several loggers pass to one handler."""
    entry = record if type(record) is RunLogRecord else _table.get(id(record))
    if entry is None:
        set_facts(record, AMBIENT)
        entry = _table[id(record)]
    if entry.is_reported:
        return False
    entry.is_reported = True
    return True


_last_names: tuple[str, str, int, Mapping[str, str | int]] = ("", "", 0, {})
"""The id, name and attempt of the run whose names were asked for last, and its names."""


def names_of(run: Run) -> Mapping[str, str | int]:
    """Return the attributes that a span of the run has, too, for its log records. Do not change."""
    global _last_names  # noqa: PLW0603 - one run logs many lines
    record = run.record
    run_id, run_name, attempt, names = _last_names
    if run_id == record.id and run_name == record.run_name and attempt == run.attempt:
        return names
    made: dict[str, str | int] = {RUN_ID: record.id}
    if record.run_name:
        made["flowspan.run.name"] = record.run_name
    if record.flow_run_id is not None:
        made["flowspan.flow_run.id"] = record.flow_run_id
        if run.flow_run is not None:
            made["flowspan.flow.name"] = run.flow_run.record.function_name
    made["flowspan.root_run.id"] = record.root_run_id
    made["flowspan.attempt"] = run.attempt
    _last_names = record.id, record.run_name, run.attempt, made
    return made


def is_copy(record: logging.LogRecord) -> bool:
    """Return True for a copy of a run's record, whose original was handled before."""
    return RUN_ID in vars(record) and facts_of(record) is None
