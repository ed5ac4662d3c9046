"""What `--json` prints: one object a line, with the field names of docs/cli.md."""

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
    from collections.abc import Iterator

    from flowspan.cli.tree import Node


def line(value: Any, *, escaped: bool = False) -> str:
    """A JSON object on one line; with `escaped`, in ASCII alone.

    Nothing is lost that is a character, and nothing reaches a terminal that it would obey: control
    characters are escapes. What JSON has no number for is a text: "NaN", "Infinity", "-Infinity".
    """
    return _dumped(value, escaped=escaped, separators=(",", ":"))


def pretty(value: Any) -> str:
    """A JSON value on several lines, for people; else as `line`."""
    return _dumped(value, indent=2)


def _dumped(value: Any, *, escaped: bool = False, **how: Any) -> str:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, **how)
    except ValueError:
        text = json.dumps(_in_json(value), ensure_ascii=False, **how)
    return escape_json(text, to_ascii=escaped)


def _in_json(value: Any) -> Any:
    """The value with texts for the floats that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _in_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_json(item) for item in value]
    return value


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def record(value: Any) -> Any:
    """A record of `flowspan.api.models` as JSON values: the fields by their names."""
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


def run(value: FlowRun | TaskRun) -> dict[str, Any]:
    """A run, with its kind first."""
    kind = "flow_run" if isinstance(value, FlowRun) else "task_run"
    return {"kind": kind, **_fields(value)}


def tree(root: Node, *, escaped: bool = False) -> Iterator[str]:
    """A run with the runs that it called, in the order of creation, as `children`: in pieces.

    They are one JSON object on one line, however deep the tree: json.dumps would recurse.
    """

    def opening(node: Node) -> str:
        return line(run(node.run), escaped=escaped)[:-1] + ',"children":['

    yield opening(root)
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
    """A log record, its level by name where it has one."""
    return {**_fields(value), "level": level_name(value.level)}


def flow(value: Flow) -> dict[str, Any]:
    """A flow."""
    return _fields(value)


def watch_item(item: RunSnapshot | SnapshotEnd | Change) -> dict[str, Any]:
    """An item of a watch; `event` says which kind."""
    match item:
        case RunSnapshot():
            return {"event": "snapshot", "run": run(item.run)}
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
                "run": None if item.run is None else run(item.run),
                "resume_token": item.resume_token,
            }


def level_name(number: int) -> str:
    """The level's name, or the number as text where it has none."""
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
    """The value itself where it is JSON, else only how it is encoded and how large it is."""
    try:
        if value.encoding == REFERENCE_ENCODING:
            return {"encoding": value.encoding, **json.loads(value.data)}
        return value.json()
    except ValueError:
        return {"encoding": value.encoding, "size_bytes": len(value.data)}
