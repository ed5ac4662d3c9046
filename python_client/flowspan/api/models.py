"""Records that the API client returns: frozen dataclasses of plain Python values.

Instants are aware datetimes in UTC, durations are in seconds, ids are UUIDs. An enum value that
this client does not know is read as UNKNOWN, so that older clients keep working.
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

    from flowspan.api.run_parts import CodeLocation, RunInput, TraceContext
    from flowspan.results.trusted_storages import Trust


class TransitionCause(IntEnum):
    """The cause of a transition (flowspan.v1.TransitionCause)."""

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
    """The named log levels. A record may also have a number in between (flowspan.v1.LogLevel)."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """An encoded user value: the encoding and the bytes."""

    encoding: str
    data: bytes

    def json(self) -> Any:
        """Return the decoded value of a payload with encoding "json".

        Raises:
            ValueError: The encoding is another one, or the data is not valid JSON or nested too
                deeply.
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
        """Return the value: decoded JSON, or the stored result that the payload refers to.

        A result is read from the location that the run recorded, if it is in one of this program's
        result storages: the folder in its home, FLOWSPAN_RESULTS_URL,
        FLOWSPAN_RESULTS_TRUSTED_STORAGES, or the `result_storage` of one of its flows and tasks.
        Loading a result can execute code chosen by whoever wrote it, and a run can record any
        location, so other locations are refused by default.

        Args:
            trust: True to read the result from any location; or one or several paths or URLs of
                folders to trust in addition to this program's storages.

        Raises:
            UntrustedResult: The result is in a place that is not trusted.
            MissingResult: The result does not exist any more, as seen from this machine.
            ResultUnreadable: The stored result cannot be read.
            ValueError: The encoding is another one, or the data is not valid JSON.
        """
        if self.encoding != REFERENCE_ENCODING:
            return self.json()
        from flowspan.results.reference import load_reference  # noqa: PLC0415 - rarely needed

        return load_reference(self.data, trust=trust)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error of user code, in a language-independent form.

    Attributes:
        cause: The error that caused this one.
        other_causes: Further errors that caused it or happened beside it, such as the members of
            an exception group.
    """

    type: str
    message: str = ""
    stack_trace: str = ""
    cause: Failure | None = None
    other_causes: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class State(StateQuestions):
    """A state of a run: an immutable record with the predicates of `flowspan.State`.

    Attributes:
        entered_at: The time of entry, by the clock of the process that reported it.
        scheduled_at: With SCHEDULED, the time at which the run is due.
        failure: With FAILED and CRASHED, the underlying error.
        result_reference: With COMPLETED, the place of the result, if it was stored; `result()`
            reads it.
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
        """Alias of `entered_at`."""
        return self.entered_at

    def result(
        self,
        raise_on_failure: bool = True,  # noqa: FBT001, FBT002 - as flowspan.State
        *,
        trust: Trust = False,
        _sync: bool | None = None,
    ) -> Any:
        """Return the stored result of the run; in asynchronous code, return a coroutine.

        Args:
            raise_on_failure: True to raise the error of a run that did not complete, False to
                return it.
            trust: Further places to read from: True for any, or one or several paths or URLs of
                folders. See `Payload.load`.
            _sync: As for `flowspan.State.result`.

        Raises:
            UntrustedResult: The result is in a place that is not trusted.
            MissingResult: The result was not stored, or is not available on this machine.
            UnfinishedRun: The run has not ended. It is a MissingResult.
            ResultUnreadable: The stored result cannot be read.
            RunFailed: The run failed or crashed (CrashedRun).
            CancelRun: The run was cancelled.
            UpstreamFailed: The run never started, because a run that it depends on did not
                complete.
        """
        if gives_awaitable(sync=_sync):
            return self.aresult(raise_on_failure, trust=trust)
        if self.type is StateType.COMPLETED:
            if self.result_reference is None:
                raise MissingResult(
                    "The result was not stored. Set persist_result=True to store it."
                )
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
        """Return the stored result, as `result`; it is read in a worker thread."""
        import asyncio  # noqa: PLC0415 - start-up cost

        return await asyncio.to_thread(self.result, raise_on_failure, trust=trust, _sync=True)

    def __str__(self) -> str:
        return state_text(self.type, self.name, self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Fields common to flow runs and task runs.

    A service older than 0.2 leaves out the last four.
    """

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
    description: str = ""
    max_attempts: int = 0
    inputs: tuple[RunInput, ...] = ()
    code: CodeLocation | None = None

    # Aliases under Prefect's names.

    @property
    def run_count(self) -> int:
        """The number of attempts that have started."""
        return self.attempt if self.started_at is not None else 0

    @property
    def task_inputs(self) -> dict[str, tuple[RunInput, ...]]:
        """`inputs` by parameter. Parameters that took no result of a run are left out."""
        by_parameter: dict[str, tuple[RunInput, ...]] = {}
        for each in self.inputs:
            by_parameter[each.parameter] = (*by_parameter.get(each.parameter, ()), each)
        return by_parameter

    @property
    def created(self) -> datetime | None:
        """Alias of `created_at`."""
        return self.created_at

    @property
    def start_time(self) -> datetime | None:
        """Alias of `started_at`."""
        return self.started_at

    @property
    def end_time(self) -> datetime | None:
        """Alias of `ended_at`."""
        return self.ended_at

    @property
    def total_run_time(self) -> timedelta:
        """The running time: `run_duration_s` as a timedelta."""
        return timedelta(seconds=self.run_duration_s)

    @property
    def state_type(self) -> StateType:
        """The type of the current state."""
        return self.state.type

    @property
    def state_name(self) -> str:
        """The name of the current state."""
        return self.state.name


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRun(_Run):
    """One execution of a flow.

    Attributes:
        parameters: The validated arguments, or None; `parameters.json()` decodes them.
        description: What the flow does, for people.
        max_attempts: The largest number of attempts that the run can have; 0 if unknown.
        inputs: The runs whose results it took.
        code: The place of the flow's function in its source code; None if unknown.
        run_duration_s: The seconds spent in RUNNING (and, once started, in CANCELLING) over all
            attempts, up to the last transition.
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
        parameters: A preview of the arguments, or None; `parameters.json()` decodes it. Long
            values are shortened, and values without a JSON form are shown as their type.
        task_version: The version of the task, as its author defines it; may be empty.
        description: What the task does, for people.
        max_attempts: The largest number of attempts that the run can have; 0 if unknown.
        inputs: The runs whose results it took.
        code: The place of the task's function in its source code; None if unknown.
        run_duration_s: The seconds spent in RUNNING (and, once started, in CANCELLING) over all
            attempts, up to the last transition.
    """

    task_name: str
    flow_run_id: UUID | None
    task_version: str = ""
    parameters: Payload | None = None

    @property
    def function_name(self) -> str:
        """The name of the task."""
        return self.task_name


Run: TypeAlias = FlowRun | TaskRun
AnyRun = TypeVar("AnyRun", FlowRun, TaskRun)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Entry of a run into a state.

    Attributes:
        ordinal: The place in the run's history: 1, 2, 3, … without gaps.
        position: The place in the service's commit order; ascending, with gaps.
        committed_at: The time of the commit, by the service's clock. `state.entered_at` is by the
            reporter's clock.
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
    """A complete log record, reassembled if it was sent in chunks.

    Attributes:
        position: The place in the order of all log records (of the last chunk).
        level: A LogLevel, or a number between two levels.
        attempt: The attempt that logged it; 0 if unknown.
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
    """The service's answer to a requested transition.

    Attributes:
        rule: The name of the rule that decided (docs/states.md); empty if accepted.
        reason: The reason in a sentence; empty if accepted.
        current_state: The run's state after this answer, without failure and result. If a batch has
            several answers about a run in one state, only the first answer has it.
        retry_after_s: With WAIT, the seconds to wait before asking again.
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
        """True if the run has entered the state, now or earlier."""
        return self.kind in {VerdictKind.ACCEPTED, VerdictKind.DUPLICATE}


class StateAnswer(NamedTuple, Generic[AnyRun]):
    """The outcome of a requested transition."""

    verdict: Verdict
    run: AnyRun
    """The run after the verdict."""


class CancelAnswer(NamedTuple, Generic[AnyRun]):
    """The outcome of a cancellation."""

    verdict: Verdict
    run: AnyRun
    """The run after the verdict."""
    asked_run_count: int
    """The number of runs whose processes were asked to stop them, those below included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A flow, identified by its name."""

    id: UUID
    name: str
    created_at: datetime | None
    last_run_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceInfo:
    """The state and settings of a service.

    Attributes:
        database_location: The path of a SQLite file on the service's machine, or a URL without the
            password.
        database_size_bytes: The size of the database; 0 if unknown.
        log_file: The log file on the service's machine; empty if it logs to a terminal or a pipe.
        is_embedded: True if a client library started the service, not a person.
        idle_timeout_s: The time without calls and sessions after which the service shuts down; None
            for never.
        longest_write_s: The duration of the longest transaction, which blocks all other writes.
        longest_recent_write_s: The same over the last minute.
        database_problem: The reason why the database cannot be used; empty if there is no problem.
        http_address: The address over HTTP ("http://127.0.0.1:4680"); empty without HTTP.
        trace_url: The address of a trace in the page of a trace viewer, with ``{trace_id}`` in
            place of the id; empty if none is configured.
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
    http_address: str = ""
    trace_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """A filter of runs.

    Every field that is set must match. Of several values of a field, one must match; of tags,
    all must. None does not filter. An empty string is refused, because it is usually an id that was
    never set.

    Attributes:
        function_names: Names of flows or tasks.
        created_after: The earliest creation time, inclusive; an aware datetime.
        created_before: The latest creation time, exclusive; an aware datetime.
        id_prefix: A prefix of the run's id, at least 4 characters.
        id_suffix: A suffix of the run's id, at least 4 characters.
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
    """A result that a run publishes for people: a table, a text, a link, an image or progress.

    Attributes:
        key: The key that it is a version of; None for an artifact that belongs to its run alone.
        type: "link", "markdown", "table", "progress", "image", or a custom name.
        data: The content, decoded by `data.json()`; None if it was omitted.
        run_id: The flow run or task run that created it; None outside runs.
        flow_run_id: The flow run that it belongs to; None outside flows.
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
        """The task run that created it; None if another kind of run, or none, did."""
        return self.run_id if self.run_id != self.flow_run_id else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFilter:
    """A filter of artifacts.

    Every field that is set must match; of several types, one must match. None does not filter. An
    empty string is refused.

    Attributes:
        run_id: The flow run or task run that created them.
        include_descendants: With `run_id`, True to include artifacts of the run's descendants.
        id_prefix: A prefix of the artifact's id, at least 4 characters.
        id_suffix: A suffix of the artifact's id, at least 4 characters.
    """

    key: str | None = None
    types: tuple[str, ...] = ()
    run_id: UUID | str | None = None
    include_descendants: bool = False
    id_prefix: str | None = None
    id_suffix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A named value shared by flows and users; `value.json()` decodes it."""

    name: str
    value: Payload
    tags: tuple[str, ...]
    created_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A key/value pair on a flow run or task run."""

    run_id: UUID
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """Item of a watch: a run in its current state.

    A run may be sent again before the SnapshotEnd if the connection broke in between. The later
    snapshot replaces the earlier one.
    """

    run: Run


@dataclass(frozen=True, slots=True)
class SnapshotEnd:
    """Item of a watch: the end of the snapshot. Changes follow."""

    run_count: int
    resume_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """Item of a watch: a transition, with the run if it is the run's first one."""

    transition: Transition
    run: Run | None
    resume_token: str = field(repr=False)
