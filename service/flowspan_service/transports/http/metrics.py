"""Figures of the service in the text format of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan_service.api.backend import Backend

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class _Family(NamedTuple):
    """A metric: its name, type, help, and samples of labels and values."""

    name: str
    kind: str
    text: str
    samples: Iterable[tuple[dict[str, str], float]]


def metrics(backend: Backend) -> bytes:
    """Return all figures."""
    return "".join(map(_written, [*_facts(backend), *_store(backend), *_calls(backend)])).encode()


def _facts(backend: Backend) -> list[_Family]:
    about, activity = backend.about, backend.activity
    build = {"version": about.version, "database": about.database}
    return [
        _Family("flowspan_info", "gauge", "The service.", [(build, 1)]),
        _one(
            "flowspan_start_time_seconds",
            "gauge",
            "The start of the service, in seconds since 1970.",
            about.started_us / 1e6,
        ),
        _one("flowspan_sessions", "gauge", "Connected sessions.", len(backend.connections)),
        _one("flowspan_open_calls", "gauge", "Calls and streams in progress.", activity.open_calls),
        _one("flowspan_open_files", "gauge", "Open files, as last counted.", backend.files.used),
        _one("flowspan_open_files_limit", "gauge", "The limit of open files.", backend.files.limit),
    ]


def _store(backend: Backend) -> list[_Family]:
    store, activity = backend.store, backend.activity
    times = store.write_times()
    problem = store.gone or activity.database_problem
    return [
        _one(
            "flowspan_committed_transitions_total",
            "counter",
            "Transitions committed since the start.",
            activity.committed_transition_count,
        ),
        _one("flowspan_queued_events", "gauge", "Events to be stored.", store.queued_weight),
        _one(
            "flowspan_queued_bytes",
            "gauge",
            "Reported bytes that wait for their commit.",
            activity.queued_bytes,
        ),
        _one(
            "flowspan_longest_write_seconds",
            "gauge",
            "The longest transaction since the start.",
            times.longest_s,
        ),
        _one(
            "flowspan_longest_recent_write_seconds",
            "gauge",
            "The longest transaction of the last minute.",
            times.recent_longest_s,
        ),
        _one(
            "flowspan_database_problem",
            "gauge",
            "1 if the database cannot be used.",
            int(bool(problem)),
        ),
    ]


def _calls(backend: Backend) -> list[_Family]:
    calls = backend.activity.calls
    counted = sorted(calls.counts.items())
    return [
        _Family(
            "flowspan_calls_total",
            "counter",
            "Calls that ended, over gRPC and HTTP, by method and code.",
            [({"method": method, "code": code}, count) for (method, code), count in counted],
        ),
        _Family(
            "flowspan_call_seconds_total",
            "counter",
            "Time that ended calls took, by method.",
            [({"method": method}, taken) for method, taken in sorted(calls.seconds.items())],
        ),
    ]


def _one(name: str, kind: str, text: str, value: float) -> _Family:
    return _Family(name, kind, text, [({}, value)])


def _written(family: _Family) -> str:
    lines = [f"# HELP {family.name} {family.text}", f"# TYPE {family.name} {family.kind}"]
    lines += [f"{family.name}{_labels(labels)} {value}" for labels, value in family.samples]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"
