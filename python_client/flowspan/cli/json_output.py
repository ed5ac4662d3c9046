"""Output of `--json`: one object per line, with the field names of docs/cli.md."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flowspan.api.models import (
    Change,
    Flow,
    FlowRun,
    LogLevel,
    LogRecord,
    Payload,
    RunSnapshot,
    SnapshotEnd,
    TaskRun,
)
from flowspan.cli.safe_text import escape_json
from flowspan.core.result_options import REFERENCE_ENCODING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flowspan.cli.tree import Node

    UrlOf = Callable[[FlowRun | TaskRun], str | None]


def line(value: Any, *, escaped: bool = False) -> str:
    """Return a value as JSON on one line.

    Control characters are escaped, so a terminal never interprets them. Non-finite floats
    become the strings "NaN", "Infinity" and "-Infinity".

    Args:
        value: The value.
        escaped: True to write ASCII only.
    """
    return _dumped(value, escaped=escaped, separators=(",", ":"))


def pretty(value: Any) -> str:
    """Return a value as indented JSON, escaped as by `line`."""
    return _dumped(value, indent=2)


def _dumped(value: Any, *, escaped: bool = False, **how: Any) -> str:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, **how)
    except ValueError:
        text = json.dumps(_in_json(value), ensure_ascii=False, **how)
    return escape_json(text, to_ascii=escaped)


def _in_json(value: Any) -> Any:
    """Return the value with strings in place of non-finite floats."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _in_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_json(item) for item in value]
    return value


def timestamp(moment: datetime) -> str:
    """Return a moment in RFC 3339 format, in UTC with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def record(value: Any) -> Any:
    """Return a record of `flowspan.api.models` as JSON values, keyed by field name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, tuple):
        return [record(item) for item in value]
    return value


def run(value: FlowRun | TaskRun, url_of: UrlOf) -> dict[str, Any]:
    """Return a run as JSON values, with its kind first.

    Args:
        value: The run.
        url_of: Returns the address of a run's trace; None without one.
    """
    kind = "flow_run" if isinstance(value, FlowRun) else "task_run"
    return {"kind": kind, **_fields(value), "trace_url": url_of(value)}


def tree(
    root: Node,
    url_of: UrlOf,
    *,
    labels: Mapping[str, str] | None = None,
    escaped: bool = False,
) -> Iterator[str]:
    """Yield a run as pieces of one JSON object on one line, descendants as `children`.

    Children are in order of creation. The object is built iteratively, because json.dumps would
    exceed the recursion limit on deep trees.

    Args:
        root: The run.
        url_of: Returns the address of a run's trace; None without one.
        labels: The labels of the run, by key.
        escaped: True to write ASCII only.
    """

    def opening(node: Node, **further: Any) -> str:
        return line({**run(node.run, url_of), **further}, escaped=escaped)[:-1] + ',"children":['

    yield opening(root, labels=dict(labels or {}))
    under_way = [iter(root.children)]
    is_first = True
    while under_way:
        child = next(under_way[-1], None)
        if child is None:
            under_way.pop()
            is_first = False
            yield "]}"
            continue
        yield opening(child) if is_first else "," + opening(child)
        under_way.append(iter(child.children))
        is_first = True


def log(value: LogRecord) -> dict[str, Any]:
    """Return a log record as JSON values, with its level by name if it has one."""
    return {**_fields(value), "level": level_name(value.level)}


def flow(value: Flow) -> dict[str, Any]:
    """Return a flow as JSON values."""
    return _fields(value)


def watch_item(item: RunSnapshot | SnapshotEnd | Change, url_of: UrlOf) -> dict[str, Any]:
    """Return an item of a watch as JSON values; `event` is its kind. For `url_of`, see `run`."""
    match item:
        case RunSnapshot():
            return {"event": "snapshot", "run": run(item.run, url_of)}
        case SnapshotEnd():
            return {
                "event": "snapshot_end",
                "run_count": item.run_count,
                "resume_token": item.resume_token,
            }
        case Change():
            return {
                "event": "transition",
                "transition": record(item.transition),
                "run": None if item.run is None else run(item.run, url_of),
                "resume_token": item.resume_token,
            }


def level_name(number: int) -> str:
    """Return the name of a log level, or its number as text if it has no name."""
    try:
        return LogLevel(number).name
    except ValueError:
        return str(number)


def _fields(value: Any) -> dict[str, Any]:
    return {
        field.name: _payload(item) if isinstance(item, Payload) else record(item)
        for field in dataclasses.fields(value)
        for item in (getattr(value, field.name),)
    }


def _payload(value: Payload) -> Any:
    """Return the decoded value of a JSON payload; for others, the encoding and size in bytes."""
    try:
        if value.encoding == REFERENCE_ENCODING:
            return {"encoding": value.encoding, **json.loads(value.data)}
        return value.json()
    except ValueError:
        return {"encoding": value.encoding, "size_bytes": len(value.data)}
