"""What the API client returns: frozen records of plain Python values.

Instants are aware datetimes in UTC, durations are seconds, ids are UUIDs. A value of an enum that
is newer than this client reads as UNKNOWN: an old client shows what it can.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

from flowspan.core.async_dispatch import gives_awaitable
from flowspan.core.result_options import REFERENCE_ENCODING
from flowspan.core.state_types import StateQuestions, error_of, is_unfinished, state_text
from flowspan.core.state_types import StateType as StateType  # noqa: PLC0414 - given on
from flowspan.exceptions import MissingResult

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from flowspan.results.trusted_storages import Trust


class TransitionCause(IntEnum):
    """Who caused a transition (flowspan.v1.TransitionCause)."""

    UNKNOWN = 0
    REPORTED = 1
    REQUESTED = 2
    SESSION_LOST = 3


class VerdictKind(IntEnum):
    """The service's answer to a transition (flowspan.v1.VerdictKind)."""

    UNKNOWN = 0
    ACCEPTED = 1
    DUPLICATE = 2
    REJECTED = 3
    WAIT = 4
    ABORT = 5


class LogLevel(IntEnum):
    """The levels with a name; a record may have a number between them (flowspan.v1.LogLevel)."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A value of the user's: bytes, and how they are encoded."""

    encoding: str
    data: bytes

    def json(self) -> Any:
        """The value, if its encoding is "json".

        Raises:
            ValueError: It has another encoding, is not valid JSON, or is nested too deeply.
        """
        if self.encoding != "json":
            msg = f"the encoding is {self.encoding!r}, not 'json'"
            raise ValueError(msg)
        try:
            return json.loads(self.data)
        except RecursionError:
            msg = f"the JSON of {len(self.data)} bytes is nested too deeply to be read"
            raise ValueError(msg) from None

    def load(self, *, trust: Trust = False) -> Any:
        """The value: itself if its encoding is "json", or the result that it leads to.

        A result is read from where the run stored it, if that is a result storage of this program:
        the folder of its home, FLOWSPAN_RESULTS_URL, FLOWSPAN_RESULTS_TRUSTED_STORAGES, or the
        `result_storage` of one of its flows and tasks. Reading one can run code of whoever wrote
        it, and any run can name any place.

        Args:
            trust: True reads the result wherever it is. A path or a URL of a folder, or several,
                are trusted beside the storages of this program.

        Raises:
            UntrustedResult: It is somewhere else.
            MissingResult: There is nothing any more where it leads, as seen from this machine.
            ResultUnreadable: What is there cannot be read.
            ValueError: It has another encoding, or is not valid JSON.
        """
        if self.encoding != REFERENCE_ENCODING:
            return self.json()
        from flowspan.results.reference import load_reference  # noqa: PLC0415 - rarely needed

        return load_reference(self.data, trust=trust)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error of user code, in a form that every language can show."""

    type: str
    message: str = ""
    stack_trace: str = ""
    cause: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State(StateQuestions):
    """One state of a run: an immutable record. It answers what `flowspan.State` answers.

    Attributes:
        entered_at: By the clock of whoever entered it.
        scheduled_at: With SCHEDULED: when the run is to go on.
        failure: With FAILED and CRASHED: the error behind it.
        result_reference: With COMPLETED: where the result is, if it was stored; `result()` reads
            it.
    """

    type: StateType
    name: str
    message: str = ""
    entered_at: datetime | None = None
    scheduled_at: datetime | None = None
    failure: Failure | None = None
    result_reference: Payload | None = None

    @property
    def timestamp(self) -> datetime | None:
        """Another name of `entered_at`."""
        return self.entered_at

    def result(
        self,
        raise_on_failure: bool = True,  # noqa: FBT001, FBT002 - as flowspan.State
        *,
        trust: Trust = False,
        _sync: bool | None = None,
    ) -> Any:
        """Return the stored result of the run; in asynchronous code, a coroutine.

        Args:
            raise_on_failure: Whether a run that did not complete raises an error; else that is
                returned.
            trust: What to read beside the result storages of this program: True for everything, or
                the path or URL of a folder, or several. See `Payload.load`.
            _sync: As for `flowspan.State.result`.

        Raises:
            UntrustedResult: The result is in a place that only the run has named.
            MissingResult: The result was not stored, or is not to be had from this machine.
            UnfinishedRun: The run has not ended. It is a MissingResult.
            ResultUnreadable: It cannot be read here.
            RunFailed: The run failed, or crashed (CrashedRun).
            CancelRun: It was cancelled.
            UpstreamFailed: It never began, because a run before it did not complete.
        """
        if gives_awaitable(sync=_sync):
            return self.aresult(raise_on_failure, trust=trust)
        if self.type is StateType.COMPLETED:
            if self.result_reference is None:
                raise MissingResult("The result was not stored (persist_result=True does that).")
            return self.result_reference.load(trust=trust)
        error = error_of(self.type, self.name, self.message)
        if raise_on_failure or is_unfinished(error):
            raise error
        return error

    async def aresult(
        self,
        raise_on_failure: bool = True,  # noqa: FBT001, FBT002 - as flowspan.State
        *,
        trust: Trust = False,
    ) -> Any:
        """`result`, to be awaited: the result is read in a thread."""
        import asyncio  # noqa: PLC0415 - start-up cost

        return await asyncio.to_thread(self.result, raise_on_failure, trust=trust, _sync=True)

    def __str__(self) -> str:
        return state_text(self.type, self.name, self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """Where a run's span is: W3C traceparent and tracestate, and the parent's span id."""

    traceparent: str
    tracestate: str = ""
    parent_span_id: str = ""

    @property
    def trace_id(self) -> str:
        """32 hex digits, or empty."""
        parts = self.traceparent.split("-")
        return parts[1] if len(parts) >= 4 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What flow runs and task runs have in common."""

    id: UUID
    name: str
    state: State
    attempt: int
    parent_run_id: UUID | None
    root_run_id: UUID
    tags: tuple[str, ...]
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    run_duration_s: float
    trace: TraceContext | None
    session_id: UUID | None
    transition_count: int

    # Other names, which are Prefect's.

    @property
    def run_count(self) -> int:
        """The number of attempts that have begun."""
        return self.attempt if self.started_at is not None else 0

    @property
    def created(self) -> datetime | None:
        """Another name of `created_at`."""
        return self.created_at

    @property
    def start_time(self) -> datetime | None:
        """Another name of `started_at`."""
        return self.started_at

    @property
    def end_time(self) -> datetime | None:
        """Another name of `ended_at`."""
        return self.ended_at

    @property
    def total_run_time(self) -> timedelta:
        """The time that it has run; `run_duration_s` as a timedelta."""
        return timedelta(seconds=self.run_duration_s)

    @property
    def state_type(self) -> StateType:
        """The type of its state."""
        return self.state.type

    @property
    def state_name(self) -> str:
        """The name of its state."""
        return self.state.name


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRun(_Run):
    """One execution of a flow.

    Attributes:
        parameters: The arguments after validation, or None; `parameters.json()` decodes them.
        run_duration_s: The seconds spent in RUNNING, over all attempts, up to the last transition;
            and in CANCELLING, once it has run.
    """

    flow_id: UUID | None
    flow_name: str
    flow_version: str
    parameters: Payload | None

    @property
    def function_name(self) -> str:
        """The name of the flow."""
        return self.flow_name


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun(_Run):
    """One execution of a task.

    Attributes:
        flow_run_id: The flow run that it belongs to; None for a task called outside flows.
        run_duration_s: The seconds spent in RUNNING, over all attempts, up to the last transition;
            and in CANCELLING, once it has run.
    """

    task_name: str
    flow_run_id: UUID | None

    @property
    def function_name(self) -> str:
        """The name of the task."""
        return self.task_name


Run: TypeAlias = FlowRun | TaskRun
AnyRun = TypeVar("AnyRun", FlowRun, TaskRun)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A state entered by a run.

    Attributes:
        ordinal: The place in the run's history: 1, 2, 3, … without gaps.
        position: The place in the order of all commits of the service; grows, with gaps.
        committed_at: By the service's clock; `state.entered_at` is the reporter's.
    """

    run_id: UUID
    ordinal: int
    attempt: int
    state: State
    cause: TransitionCause
    position: int
    committed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One log record, whole: the pieces that a long one travels in are joined again.

    Attributes:
        position: The place in the order of all log records (of the last piece).
        level: A LogLevel, or a number between two of them.
        attempt: The attempt that logged it; 0 where it is not known.
    """

    position: int
    run_id: UUID
    level: int
    logged_at: datetime | None
    logger: str
    message: str
    trace_id: str = ""
    span_id: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The service's answer to a transition that was asked for.

    Attributes:
        rule: The name of the rule that decided (docs/states.md); empty when accepted.
        reason: Why, in a sentence; empty when accepted.
        current_state: The state in which the run is after this answer, without its failure and
            result. Of several answers in a batch about a run in one state, only the first has it.
        retry_after_s: With WAIT: how long to wait before asking again.
    """

    run_id: UUID
    kind: VerdictKind
    rule: str = ""
    reason: str = ""
    current_state: State | None = None
    current_attempt: int = 0
    retry_after_s: float | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether the run has entered the state, now or before."""
        return self.kind in {VerdictKind.ACCEPTED, VerdictKind.DUPLICATE}


class StateAnswer(NamedTuple, Generic[AnyRun]):
    """What became of a transition that was asked for."""

    verdict: Verdict
    run: AnyRun
    """The run afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A flow: the decorated function, as opposed to its runs."""

    id: UUID
    name: str
    created_at: datetime | None
    last_run_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceInfo:
    """The state and the settings of a service.

    Attributes:
        database_location: The path of a SQLite file on its machine, or a URL without the password.
        database_size_bytes: 0 if it is not known.
        log_file: The file on its machine that its log goes to; empty for a terminal or a pipe.
        is_embedded: True if a client library started it, and not a person.
        idle_timeout_s: After how long without calls and sessions it ends by itself; None for never.
        longest_write_s: Its longest transaction, during which nothing else could be stored.
        longest_recent_write_s: The same for the last minute.
        database_problem: Why its database cannot be used; empty if all is well.
    """

    version: str
    schema_version: str
    database: str
    started_at: datetime | None
    server_time: datetime | None
    process_id: int
    connected_session_count: int
    committed_transition_count: int
    queued_event_count: int
    lease_s: float
    reconnect_grace_s: float
    otlp_endpoint: str
    max_message_bytes: int
    capabilities: tuple[str, ...] = ()
    database_location: str = ""
    database_size_bytes: int = 0
    log_file: str = ""
    is_embedded: bool = False
    idle_timeout_s: float | None = None
    longest_write_s: float = 0.0
    longest_recent_write_s: float = 0.0
    database_problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs.

    What is set is all to be met; of several values of a field, one is enough, but of tags all. None
    does not filter; an empty text is refused, for most often it is an id that was never set.

    Attributes:
        function_names: Names of flows or tasks.
        created_after: Created at this time or later; an aware datetime.
        created_before: Created before this time; an aware datetime.
        id_prefix: The beginning of the run's id, at least 4 characters.
        id_suffix: The end of the run's id, at least 4 characters.
    """

    state_types: tuple[StateType, ...] = ()
    state_names: tuple[str, ...] = ()
    function_names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    parent_run_id: UUID | str | None = None
    root_run_id: UUID | str | None = None
    flow_run_id: UUID | str | None = None
    top_level_only: bool = False
    created_after: datetime | None = None
    created_before: datetime | None = None
    run_name: str | None = None
    id_prefix: str | None = None
    id_suffix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Something that a run shows to people.

    Attributes:
        key: What it is a version of; None for one that belongs to its run alone.
        type: "link", "markdown", "table", "progress", "image", or another name.
        data: What it shows, `data.json()` decodes it; None where that was left out.
        run_id: The run that made it, a flow run or a task run; None outside of runs.
        flow_run_id: The flow run that it belongs to; None outside of flows.
    """

    id: UUID
    key: str | None
    type: str
    description: str
    data: Payload | None
    run_id: UUID | None
    flow_run_id: UUID | None
    created_at: datetime | None
    updated_at: datetime | None

    @property
    def task_run_id(self) -> UUID | None:
        """The task run that made it; None if it was not a task run."""
        return self.run_id if self.run_id != self.flow_run_id else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFilter:
    """Which artifacts.

    What is set is all to be met; of several types, one is enough. None does not filter; an empty
    text is refused.

    Attributes:
        run_id: The run that made them, a flow run or a task run.
        include_descendants: With `run_id`: those of the runs that it called, too.
        id_prefix: The beginning of the artifact's id, at least 4 characters.
        id_suffix: The end of the artifact's id, at least 4 characters.
    """

    key: str | None = None
    types: tuple[str, ...] = ()
    run_id: UUID | str | None = None
    include_descendants: bool = False
    id_prefix: str | None = None
    id_suffix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A named value that flows and people share; `value.json()` decodes it."""

    name: str
    value: Payload
    tags: tuple[str, ...]
    created_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A watch tells of a run as it is.

    The run may be told of again before the SnapshotEnd, when the connection broke in between; the
    later one is right.
    """

    run: Run


@dataclass(frozen=True, slots=True)
class SnapshotEnd:
    """A watch has told of all runs that were there; changes follow."""

    run_count: int
    resume_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """A watch tells of a transition, and with a run's first one of the run."""

    transition: Transition
    run: Run | None
    resume_token: str = field(repr=False)
