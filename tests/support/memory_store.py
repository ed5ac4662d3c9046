"""An in-memory store for unit tests: each operation is one transaction and runs at once."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

from tests.support.memory_unit_of_work import MemoryData, MemoryUnitOfWork, claim_of, tree_of

from flowspan_service.app.ports import Heads, Identity, Unfinished, WriteTimes
from flowspan_service.app.ports.log_exports import WaitingLogs
from flowspan_service.app.ports.logs import LogPage, LogQuery
from flowspan_service.app.ports.pages import Page
from flowspan_service.app.ports.runs import FoundRuns, RunFilter, RunKey, RunQuery, SpanRuns
from flowspan_service.app.ports.transitions import Changes
from flowspan_service.domain.flows import Flow, flow_id
from flowspan_service.domain.runs import Run, RunKind, TraceContext, Transition
from flowspan_service.domain.sessions import Session, SessionStatus, SpanSource, end_of
from flowspan_service.domain.states import Cause
from flowspan_service.domain.traces import trace_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowspan_service.app.ports import (
        Clock,
        CommitListener,
        NewsListener,
        Operation,
        WriteListener,
    )
    from flowspan_service.app.ports.artifacts import ArtifactQuery, LatestArtifactQuery
    from flowspan_service.app.ports.labels import LabelQuery
    from flowspan_service.app.ports.variables import VariableQuery
    from flowspan_service.domain.artifacts import Artifact
    from flowspan_service.domain.claims import LoopClaim
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.labels import Label
    from flowspan_service.domain.logs import LogEntry
    from flowspan_service.domain.variables import Variable

T = TypeVar("T")


class ManualClock:
    """A clock that only moves when told to."""

    def __init__(self, now_us: int = 1_700_000_000_000_000) -> None:
        self.us = now_us
        self.steady = 5_000_000

    def now_us(self) -> int:
        return self.us

    def monotonic_us(self) -> int:
        return self.steady

    def advance(self, seconds: float) -> None:
        """Advance both clocks."""
        self.us += round(seconds * 1e6)
        self.steady += round(seconds * 1e6)

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self.us += round(seconds * 1e6)


class _Reads:
    """The reads of a noun."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    @property
    def data(self) -> MemoryData:
        return self._store.data


class MemoryRunReads(_Reads):
    def _read(self, run: Run) -> Run:
        found = copy(run)
        found.trace = trace_of(run, self.data.runs.get)
        return found

    def get(self, kind: int, run_id: str) -> Run | None:
        run = self.data.runs.get(run_id)
        return self._read(run) if run is not None and run.kind == kind else None

    def list(self, query: RunQuery) -> Page[Run]:
        runs = sorted(
            (
                self._read(run)
                for run in self.data.runs.values()
                if run.kind == query.kind and meets(run, query.filter)
            ),
            key=lambda run: run.id,
            reverse=not query.oldest_first,
        )
        if query.after_id is not None:
            after = query.after_id
            runs = [r for r in runs if (r.id > after if query.oldest_first else r.id < after)]
        return Page(runs[: query.limit], has_more=len(runs) > query.limit)

    def list_keys(self, query: RunQuery) -> Page[RunKey]:
        page = self.list(query)
        keys = [RunKey(run.id, run.position, run.session_id) for run in page.items]
        return Page(keys, has_more=page.has_more)

    def load(self, run_ids: Sequence[str]) -> list[Run]:
        runs = self.data.runs
        return [self._read(runs[run_id]) for run_id in run_ids if run_id in runs]

    def count(self, kind: int, run_filter: RunFilter) -> dict[int, int]:
        counts: dict[int, int] = {}
        for run in self.data.runs.values():
            if run.kind == kind and meets(run, run_filter):
                counts[run.state.type] = counts.get(run.state.type, 0) + 1
        return counts

    def tree(
        self,
        run_id: str,
        *,
        after_id: str | None,
        limit: int,
        limit_bytes: int = 2_000_000,
        state_types: Sequence[int] = (),
    ) -> Page[Run]:
        del limit_bytes  # nothing large is tried here
        runs = sorted(self._tree(run_id, state_types), key=lambda run: run.id)
        runs = [self._read(run) for run in runs if after_id is None or run.id > after_id]
        return Page(runs[:limit], has_more=len(runs) > limit)

    def tree_ids(self, run_id: str, *, state_types: Sequence[int] = ()) -> list[str]:
        return sorted(run.id for run in self._tree(run_id, state_types))

    def _tree(self, run_id: str, state_types: Sequence[int]) -> list[Run]:
        runs = tree_of(self.data, run_id)
        return [run for run in runs if not state_types or run.state.type in state_types]

    def find(self, run_ids: Sequence[str], *, limit_bytes: int = 2_000_000) -> FoundRuns:
        del limit_bytes
        found = [self._read(self.data.runs[key]) for key in run_ids if key in self.data.runs]
        return FoundRuns(found, len(run_ids))

    def traces(self, run_ids: Iterable[str]) -> dict[str, TraceContext]:
        runs = self.load(list(run_ids))
        return {run.id: run.trace for run in runs if run.trace is not None}

    def function_names(self, run_ids: Iterable[str]) -> dict[str, str]:
        runs = self.data.runs
        return {run_id: runs[run_id].function_name for run_id in run_ids if run_id in runs}

    def needing_spans(self, *, after: int, since_us: int, limit: int) -> SpanRuns:
        found = []
        for each in self.data.history:
            run = self.data.runs.get(each.run_id)
            if each.position <= after or each.commit_us < since_us:
                continue
            if run is None or run.position != each.position or not run.state.is_terminal:
                continue
            lost = run.cause == Cause.SESSION_LOST
            if run.trace and ((lost and run.trace.traceparent) or run.trace.exported_by_service):
                found.append(self._read(run))
        if len(found) > limit:
            found = found[:limit]
            return SpanRuns(found, found[-1].position, has_more=True)
        return SpanRuns(found, max(after, self._store.position()), has_more=False)


class MemoryTransitionReads(_Reads):
    def of_run(self, run_id: str) -> list[Transition]:
        return self.page(run_id).items

    def page(
        self,
        run_id: str,
        *,
        after_ordinal: int = 0,
        limit: int | None = None,
        limit_bytes: int = 2_000_000,
    ) -> Page[Transition]:
        del limit_bytes
        found = [
            each
            for each in self.data.history
            if each.run_id == run_id and each.ordinal > after_ordinal
        ]
        return Page(found[:limit], has_more=limit is not None and len(found) > limit)

    def changes(
        self, *, after: int, run_id: str | None, limit: int, limit_bytes: int = 2_000_000
    ) -> Changes:
        del limit_bytes
        wanted = None if run_id is None else {run.id for run in tree_of(self.data, run_id)}
        found = [
            (each, copy(self.data.runs[each.run_id]))
            for each in self.data.history
            if each.position > after and (wanted is None or each.run_id in wanted)
        ]
        if len(found) > limit:
            return Changes(found[:limit], found[limit - 1][0].position, has_more=True)
        return Changes(found, max(after, self._store.position()), has_more=False)

    def changed_roots(self, after: int, upto: int) -> set[str]:
        changes = [each for each in self.data.history if after < each.position <= upto]
        return {
            self.data.runs[each.run_id].root_run_id
            for each in changes
            if each.run_id in self.data.runs
        }

    def commit_time(self, position: int) -> int:
        return next((each.commit_us for each in self.data.history if each.position == position), 0)


class MemoryDeletionReads(_Reads):
    def begun(self) -> dict[str, int]:
        return {run_id: -len(self.data.runs) for run_id in sorted(self.data.deletions)}


class MemoryCancellationReads(_Reads):
    def unfinished(self) -> dict[str, int]:
        begun = self.data.cancellations.items()
        return {run_id: 0 for run_id, (_, is_walked) in begun if not is_walked}

    def walked(self) -> list[str]:
        begun = self.data.cancellations.items()
        return [run_id for run_id, (_, is_walked) in begun if is_walked]


class MemoryFamilyReads(_Reads):
    def due(self, *, limit: int) -> tuple[list[str], bool]:
        arrived = {parent for parent, _ in self.data.orphans if parent in self.data.runs}
        return sorted(arrived)[:limit], bool(self.data.moves)


class MemorySessionReads(_Reads):
    def get(self, session_id: str) -> Session | None:
        return copy(self.data.sessions.get(session_id))

    def ended(self, session_ids: Sequence[str]) -> list[str]:
        sessions = self.data.sessions
        return [
            session_id
            for session_id in session_ids
            if session_id not in sessions or sessions[session_id].status != SessionStatus.OPEN
        ]

    def span_sources(self, session_ids: Iterable[str]) -> dict[str, SpanSource]:
        return {
            key: SpanSource(
                session.client.get("name", ""),
                self.data.resources.get(key, {}),
                self.data.targets.get(key),
                end_of(session.status, session.lease_expires_us, session.client),
            )
            for key in session_ids
            if (session := self.data.sessions.get(key)) is not None
        }

    def ended_with_open_runs(self) -> list[str]:
        uow = MemoryUnitOfWork(self.data, self._store.clock.now_us())
        return [
            session.id
            for session in self.data.sessions.values()
            if session.status != SessionStatus.OPEN and uow.runs.open_of(session.id).items
        ]

    def ended_before(self, ended_before_us: int, *, after_id: str | None, limit: int) -> list[str]:
        ended = sorted(
            session.id
            for session in self.data.sessions.values()
            if session.status != SessionStatus.OPEN and session.lease_expires_us < ended_before_us
        )
        return [each for each in ended if after_id is None or each > after_id][:limit]


class MemoryLastSignReads(_Reads):
    def of(self, run_ids: Iterable[str]) -> dict[str, int]:
        signs = self.data.last_signs
        return {run_id: signs[run_id] for run_id in run_ids if run_id in signs}


class MemoryLogReads(_Reads):
    def list(self, query: LogQuery) -> LogPage:
        wanted = {query.run_id}
        if query.include_descendants:
            wanted = {run.id for run in tree_of(self.data, query.run_id)}
        found = [
            entry for entry in self.data.logs if entry.run_id in wanted and _fits(entry, query)
        ]
        after = query.after_position
        if query.newest_first:
            found = [entry for entry in reversed(found) if not after or entry.position < after]
        else:
            found = [entry for entry in found if entry.position > after]
        items = found[: query.limit]
        has_more = len(found) > query.limit
        looked_at = items[-1].position if has_more else max(after, len(self.data.logs))
        return LogPage(items, looked_at, has_more)


class MemoryFlowReads(_Reads):
    def get(self, *, flow_id: str | None = None, name: str | None = None) -> Flow | None:
        for flow in self.list(after_name=None, limit=1 << 30):
            if flow_id == flow.id or name == flow.name:
                return flow
        return None

    def list(self, *, after_name: str | None, limit: int) -> list[Flow]:
        flows: dict[str, Flow] = {}
        for run in self.data.runs.values():
            if run.kind == RunKind.FLOW:
                name = run.function_name
                at = run.created_us
                flow = flows.setdefault(name, Flow(flow_id(name), name, at, at))
                flows[name] = Flow(
                    flow.id, name, min(at, flow.created_us), max(at, flow.last_run_us)
                )
        names = sorted(name for name in flows if after_name is None or name > after_name)
        return [flows[name] for name in names[:limit]]


class MemoryArtifactReads(_Reads):
    def get(self, *, artifact_id: str | None = None, key: str | None = None) -> Artifact | None:
        found = [
            each
            for each in self.data.artifacts.values()
            if artifact_id in {None, each.id} and key in {None, each.key}
        ]
        return max(found, key=lambda each: each.id, default=None)

    def list(self, query: ArtifactQuery) -> Page[Artifact]:
        raise NotImplementedError

    def list_latest(self, query: LatestArtifactQuery) -> Page[Artifact]:
        raise NotImplementedError


class MemoryClaimReads(_Reads):
    def get(self, loop: str) -> LoopClaim | None:
        return claim_of(self.data, loop, self._store.clock.now_us())


class MemoryCommandReads(_Reads):
    def has_open(self, session_id: str) -> bool:
        return bool(self.list_open(session_id, limit=1).items)

    def list_open(
        self,
        session_id: str,
        *,
        after: Command | None = None,
        limit: int,
        limit_bytes: int = 1_000_000,
    ) -> Page[Command]:
        del limit_bytes  # Tests of this store have no large data.
        known = ("", 0) if after is None else (after.run_id, after.number)
        found = [
            copy(each)
            for key, each in sorted(self.data.commands.items())
            if each.session_id == session_id and each.done_us is None and key > known
        ]
        return Page(found[:limit], has_more=len(found) > limit)

    def sessions_with_open(self, session_ids: Sequence[str], *, since: int = -1) -> list[str]:
        del since
        return [key for key in session_ids if self.list_open(key, limit=1).items]


class MemoryVariableReads(_Reads):
    def get(self, name: str) -> Variable | None:
        return self.data.variables.get(name)

    def list(self, query: VariableQuery) -> Page[Variable]:
        raise NotImplementedError


class MemoryLabelReads(_Reads):
    def get(self, run_id: str) -> dict[str, str] | None:
        if run_id not in self.data.runs:
            return None
        return dict(sorted(self.data.labels.get(run_id, {}).items()))

    def list(self, query: LabelQuery) -> Page[Label]:
        raise NotImplementedError


class MemoryLogExportReads:
    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    def sessions(self, *, after_id: str | None = None, limit: int) -> list[str]:
        waiting = self.store.data.log_exports
        found = sorted(each for each in waiting if waiting[each] and each > (after_id or ""))
        return found[:limit]

    def waiting(self, session_id: str, *, limit: int, limit_bytes: int) -> WaitingLogs:
        del limit_bytes  # nothing large is tried here
        positions = self.store.data.log_exports.get(session_id, [])[:limit]
        items = [each for each in self.store.data.logs if each.position in positions]
        return WaitingLogs(items, max(positions, default=0))


class MemoryStore:
    """See flowspan_service.app.ports.Store."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.data = MemoryData()
        self.listeners: list[CommitListener] = []
        self.news_listeners: list[NewsListener] = []
        self.queued_weight = 0
        self.queued_operation_count = 0
        self.is_local = True
        self.is_shared = False
        self.is_spent = False
        self.events_at_once = 1 << 30
        """How many events of a report one transaction takes."""
        self.trouble: str | None = None
        self._lock = threading.RLock()
        self._commits = 0
        self.identity = Identity("00000000-0000-4000-8000-000000000000", b"key")
        self.artifacts = MemoryArtifactReads(self)
        self.claims = MemoryClaimReads(self)
        self.commands = MemoryCommandReads(self)
        self.cancellations = MemoryCancellationReads(self)
        self.deletions = MemoryDeletionReads(self)
        self.families = MemoryFamilyReads(self)
        self.flows = MemoryFlowReads(self)
        self.labels = MemoryLabelReads(self)
        self.last_signs = MemoryLastSignReads(self)
        self.logs = MemoryLogReads(self)
        self.log_exports = MemoryLogExportReads(self)
        self.runs = MemoryRunReads(self)
        self.sessions = MemorySessionReads(self)
        self.transitions = MemoryTransitionReads(self)
        self.variables = MemoryVariableReads(self)

    def do(self, operation: Operation[T]) -> T:
        """Runs the operation to its end; raises what it raises, and then nothing was changed."""
        answer: Any = operation
        while True:
            answer = self.do_once(answer)
            if not isinstance(answer, Unfinished):
                return answer  # type: ignore[no-any-return] # what the operation returns
            answer = answer.rest

    def do_once(self, operation: Operation[T]) -> T | Unfinished:
        """One transaction of the operation; what it does without a bound ends after one piece if
        `is_spent` is set.
        """
        with self._lock:
            return self._do_once(operation)

    def _do_once(self, operation: Operation[T]) -> T | Unfinished:
        data, before = deepcopy(self.data), self.heads()
        uow = MemoryUnitOfWork(data, self.clock.now_us(), events_at_once=self.events_at_once)
        uow.spent = self.is_spent
        answer = operation(uow)
        self.data = data
        self._commits += 1
        for listener in self.listeners:
            listener(
                position=self.position(),
                log_position=len(data.logs),
                ended=uow.ended,
                roots=self.transitions.changed_roots(before.position, self.position()),
                before=before,
                rolled_back=(),
            )
        return answer

    @property
    def gone(self) -> str | None:
        return None

    def problem(self) -> str | None:
        return self.trouble

    def write_times(self) -> WriteTimes:
        return WriteTimes(0.0, 0.0)

    def submit(self, operation: Operation[T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(self.do(operation))
        except Exception as error:  # noqa: BLE001 - the future carries it
            future.set_exception(error)
        return future

    def heads(self) -> Heads:
        return Heads(self.position(), len(self.data.logs))

    def position(self) -> int:
        return len(self.data.history)

    def log_position(self) -> int:
        return len(self.data.logs)

    def generation(self) -> int:
        return self._commits

    def size_bytes(self) -> int:
        return 0

    def on_commit(self, listener: CommitListener) -> None:
        self.listeners.append(listener)

    def on_write(self, listener: WriteListener) -> None:
        del listener  # there are no transactions here

    def on_session_news(self, listener: NewsListener) -> None:
        self.news_listeners.append(listener)

    def schema_version(self) -> str:
        return "memory"

    def close(self) -> None:
        """Do nothing: no operation is pending here."""


def meets(run: Run, wanted: RunFilter) -> bool:
    """Evaluate flowspan.v1.RunFilter in Python."""
    return (
        (not wanted.state_types or run.state.type in wanted.state_types)
        and (not wanted.state_names or run.state.name in wanted.state_names)
        and (not wanted.function_names or run.function_name in wanted.function_names)
        and set(wanted.tags) <= set(run.tags)
        and wanted.parent_run_id in {None, run.parent_run_id}
        and wanted.root_run_id in {None, run.root_run_id}
        and wanted.flow_run_id in {None, run.flow_run_id}
        and (not wanted.top_level_only or run.parent_run_id is None)
        and (wanted.created_after_us is None or run.created_us >= wanted.created_after_us)
        and (wanted.created_before_us is None or run.created_us < wanted.created_before_us)
        and wanted.run_name in {None, run.run_name}
        and (wanted.id_prefix is None or run.id.startswith(wanted.id_prefix))
        and (wanted.id_suffix is None or run.id.endswith(wanted.id_suffix))
    )


def _fits(entry: LogEntry, query: LogQuery) -> bool:
    return (
        entry.level >= query.min_level
        and (query.logged_after_us is None or entry.time_us >= query.logged_after_us)
        and (entry.chunk_count > 1 or query.message_contains in entry.message)
        and (
            not query.loggers
            or any(f"{entry.logger}.".startswith(f"{name}.") for name in query.loggers)
        )
    )
