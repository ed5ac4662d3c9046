"""Facts about the log records of runs: some for every handler, some for flowspan's own.

The attributes of a record belong to the program's handlers and formatters. JSON formatters write
all of them, and OpenTelemetry's handler sends them. They are therefore plain values, under the
names that spans use as well. Objects are kept beside the record, in a table of weak references.
Copies of a record (by `copy`, pickling or a `QueueHandler`) carry the attributes and no facts.
flowspan's handlers ignore such copies, because they have seen the original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from weakref import ref

if TYPE_CHECKING:
    import logging

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
        is_reported: True if the record was reported, or must not be.
    """

    run: Run | None
    stored: str = ""
    state_name: str = ""
    is_printed: bool = False
    is_note: bool = False
    is_reported: bool = False


AMBIENT = Facts(None)
"""The facts about a record of a logger that is not the run's, made while its code is current."""

_table: dict[int, tuple[Facts, ref[logging.LogRecord]]] = {}


def facts_of(record: logging.LogRecord) -> Facts | None:
    """Return the facts about a record; None for a copy, and for a record of another logger."""
    entry = _table.get(id(record))
    return None if entry is None else entry[0]


def set_facts(record: logging.LogRecord, facts: Facts) -> None:
    """Set or replace the facts about a record. They are forgotten with the record."""
    key = id(record)  # a program's own class of records may define equality
    entry = _table.get(key)
    if entry is None:
        _table[key] = facts, ref(record, lambda _: _table.pop(key, None))
    else:
        _table[key] = facts, entry[1]


def names_of(run: Run) -> dict[str, str | int]:
    """Return the attributes that a span of the run has, too, for its log records."""
    record = run.record
    names: dict[str, str | int] = {RUN_ID: record.id}
    if record.run_name:
        names["flowspan.run.name"] = record.run_name
    if record.flow_run_id is not None:
        names["flowspan.flow_run.id"] = record.flow_run_id
        if run.flow_run is not None:
            names["flowspan.flow.name"] = run.flow_run.record.function_name
    names["flowspan.root_run.id"] = record.root_run_id
    names["flowspan.attempt"] = run.attempt
    return names


def is_copy(record: logging.LogRecord) -> bool:
    """Return True for a copy of a run's record, whose original was handled before."""
    return RUN_ID in vars(record) and id(record) not in _table
