"""Runs and their transitions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.domain.states import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan_service.domain.payloads import Payload
    from flowspan_service.domain.states import State


class RunKind(IntEnum):
    """The two kinds of runs; the numbers are those of flowspan.v1.RunKind."""

    FLOW = 1
    TASK = 2


@dataclass(slots=True)
class TraceContext:
    """The place of a run's span in its trace (W3C Trace Context)."""

    traceparent: str
    """Empty in stored runs whose context is derived (see `domain.traces`)."""
    tracestate: str = ""
    parent_span_id: str = ""
    exported_by_service: bool = False


class Definition(NamedTuple):
    """The facts about a flow or task that its runs share, encoded (the edge encodes them).

    Equal definitions have equal keys, so the store keeps each of them once.
    """

    key: bytes
    """A hash of the data: 16 bytes."""
    data: bytes


class RunDetails(NamedTuple):
    """The optional content of a creation, beyond names, tags and parameters.

    A creation without any of it has no details at all.
    """

    definition: Definition | None = None
    inputs: bytes | None = None
    """The runs whose results the run took, encoded (the edge encodes them)."""
    labels: Mapping[str, str] | None = None
    """The labels to store with a new run. They may change later, and a run that is read has none
    here: read them as labels."""


@dataclass(slots=True)
class Run:
    """A flow run or a task run.

    The first block is set at the creation; two creations of one run must agree in it. Only the root
    and the flow run may change later: when the parent arrives after the run. The second block
    follows from the transitions of the run.
    """

    id: str
    kind: int
    function_name: str
    run_name: str
    parent_run_id: str | None
    root_run_id: str
    flow_run_id: str | None
    tags: tuple[str, ...]
    parameters: Payload | None
    trace: TraceContext | None
    version: str
    created_us: int

    state: State
    details: RunDetails | None = None
    """Content of the creation; after the state because most fields have no default."""
    attempt: int = 1
    transition_count: int = 1
    cause: int = Cause.REPORTED
    """The cause of the last transition."""
    session_id: str | None = None
    """The session that reports the run; None if no session does (yet)."""
    started_us: int | None = None
    ended_us: int | None = None
    run_duration_us: int = 0
    position: int = 0
    """The position of the last transition."""
    clock_shift_us: int | None = None
    """The time to add to a time of the session's client to get one on the clock of the run (see
    `domain.clocks`); None for most runs, whose clock is that of their client."""


class NewRun(NamedTuple):
    """The content of a creation: the first fields of `Run`, in its order."""

    id: str
    kind: int
    function_name: str
    run_name: str
    parent_run_id: str | None
    root_run_id: str
    flow_run_id: str | None
    tags: tuple[str, ...]
    parameters: Payload | None
    trace: TraceContext | None
    version: str
    created_us: int
    state: State
    details: RunDetails | None = None

    def make(self, *, cause: int, session_id: str | None) -> Run:
        """Return the run in its first state."""
        return Run(*self, 1, 1, cause, session_id)

    def agrees_with(self, run: Run) -> bool:
        """Return True if the run was created with the same content.

        The time, the first state and the trace do not count: a second request may come later, and
        from another span. Labels do not count, as they may have changed since. The root and the
        flow run follow from the parent, if there is one.
        """
        return (
            self.function_name == run.function_name
            and self.kind == run.kind
            and self.run_name == run.run_name
            and self.parent_run_id == run.parent_run_id
            and (
                self.parent_run_id is not None
                or (self.root_run_id == run.root_run_id and self.flow_run_id == run.flow_run_id)
            )
            and self.tags == run.tags
            and self.parameters == run.parameters
            and self.version == run.version
            and _details_agree(self.details, run.details)
        )


def _details_agree(one: RunDetails | None, other: RunDetails | None) -> bool:
    """Return True if the details are the same, or if one of the two creations had none.

    An older client sends no details, and an older service has stored none.
    """
    if one is None or other is None:
        return True
    ours, theirs = one[:2], other[:2]
    return ours == theirs or not any(ours) or not any(theirs)


@dataclass(slots=True)
class Transition:
    """A state entered by a run; see flowspan.v1.Transition."""

    run_id: str
    ordinal: int
    attempt: int
    state: State
    cause: int
    commit_us: int
    position: int = 0
    """Set by the store when it writes the transition."""
