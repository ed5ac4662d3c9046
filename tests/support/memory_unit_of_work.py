"""Units of work in memory for unit tests: each is a transaction over a copy of the data."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from flowspan_service.app.ports.cancellations import OpenBelow
from flowspan_service.app.ports.deletions import Place
from flowspan_service.app.ports.pages import Page
from flowspan_service.domain.claims import LoopClaim
from flowspan_service.domain.leases import StoredSign
from flowspan_service.domain.rules.families import put_below
from flowspan_service.domain.runs import Run, Transition
from flowspan_service.domain.sessions import OtlpTarget, Session, SessionStatus
from flowspan_service.domain.verdicts import KEPT_VERDICTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from flowspan_service.domain.artifacts import Artifact
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.logs import LogEntry
    from flowspan_service.domain.variables import Variable
    from flowspan_service.domain.verdicts import Verdict


class MemoryData:
    """The content of the store."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.history: list[Transition] = []
        self.logs: list[LogEntry] = []
        self.log_exports: dict[str, list[int]] = {}
        """The positions of the records that wait for their export, by session."""
        self.sessions: dict[str, Session] = {}
        self.resources: dict[str, dict[str, str]] = {}
        self.targets: dict[str, OtlpTarget | None] = {}
        self.deleted: set[str] = set()
        self.deletions: set[str] = set()
        self.artifacts: dict[str, Artifact] = {}
        self.variables: dict[str, Variable] = {}
        self.labels: dict[str, dict[str, str]] = {}
        self.last_signs: dict[str, int] = {}
        self.commands: dict[tuple[str, int], Command] = {}
        self.verdicts: dict[str, list[Verdict]] = {}
        self.cancellations: dict[str, tuple[str, bool]] = {}
        """The reason, and whether all runs below were asked."""
        self.orphans: dict[tuple[str, str], int] = {}
        self.moves: set[str] = set()
        self.fences: set[tuple[str, str]] = set()
        self.claims: dict[str, tuple[LoopClaim, int]] = {}
        """With the ends of their leases."""


class MemoryBudget:
    """Full after so many events: each asks once."""

    def __init__(self, events: int) -> None:
        self.left = events

    @property
    def is_full(self) -> bool:
        self.left -= 1
        return self.left < 0


class _Rows:
    """The rows of a noun in a transaction."""

    def __init__(self, uow: MemoryUnitOfWork) -> None:
        self.uow = uow
        self.data = uow.data


class MemoryRunWrites(_Rows):
    def get(self, run_id: str) -> Run | None:
        return self.data.runs.get(run_id)

    def preload(self, run_ids: Iterable[str]) -> None:
        pass

    def add(self, run: Run) -> None:
        assert run.id not in self.data.runs
        self.data.runs[run.id] = run
        if run.details is not None and run.details.labels:
            self.data.labels[run.id] = dict(run.details.labels)
        self.add_transition(run)

    def add_transition(self, run: Run) -> None:
        assert self.data.runs[run.id] is run
        self.uow.writes += 1
        run.position = len(self.data.history) + 1
        self.data.history.append(
            Transition(
                run.id,
                run.transition_count,
                run.attempt,
                run.state,
                run.cause,
                self.uow.now_us,
                run.position,
            )
        )
        if run.state.is_terminal:
            self.uow.ended.append(copy(run))

    def update(self, run: Run) -> None:
        assert self.data.runs[run.id] is run
        self.uow.writes += 1

    def hand_over(self, run: Run) -> None:
        assert self.data.runs[run.id] is run

    def open_of(self, session_id: str, *, limit: int = 1 << 30, limit_bytes: int = 0) -> Page[Run]:
        del limit_bytes  # nothing large is tried here
        runs = [
            run
            for run in self.data.runs.values()
            if run.session_id == session_id and not run.state.is_terminal
        ]
        runs.sort(key=lambda run: run.id, reverse=True)
        return Page(runs[:limit], has_more=len(runs) > limit)


class MemoryCancellationWrites(_Rows):
    def begin(self, run: Run, reason: str) -> None:
        self.data.cancellations[run.id] = reason, False

    def reason(self, run_id: str) -> str | None:
        reason, is_walked = self.data.cancellations.get(run_id, ("", True))
        return None if is_walked else reason

    def covers(self, run: Run) -> bool:
        above: Run | None = run
        while above is not None and above.id not in self.data.cancellations:
            above = self.data.runs.get(above.parent_run_id or "")
        return above is not None

    def open_below(
        self, run_id: str, *, after: Place | None
    ) -> tuple[list[OpenBelow], Place | None]:
        """Return one open run, by id."""
        runs = sorted(tree_of(self.data, run_id), key=lambda run: run.id)
        after_id = "" if after is None else after.run_id
        found = [
            run
            for run in runs
            if run.id != run_id and not run.state.is_terminal and run.id > after_id
        ]
        if not found:
            return [], None
        first = found[0]
        place = Place(0, first.id) if len(found) > 1 else None
        return [OpenBelow(first.id, first.session_id, self._is_covered(first, run_id))], place

    def _is_covered(self, run: Run, top_id: str) -> bool:
        at = self.data.runs[run.parent_run_id or ""]
        while at.session_id == run.session_id:
            if not at.state.is_terminal:
                return True
            if at.id == top_id:
                return False
            at = self.data.runs[at.parent_run_id or ""]
        return False

    def walked(self, run_id: str) -> None:
        reason, _ = self.data.cancellations[run_id]
        self.data.cancellations[run_id] = reason, True

    def end(self, run_id: str) -> None:
        del self.data.cancellations[run_id]


class MemoryFamilyWrites(_Rows):
    @property
    def has_orphans(self) -> bool:
        return bool(self.data.orphans)

    def wait_for_parent(self, run: Run) -> None:
        self.data.orphans[str(run.parent_run_id), run.id] = self.uow.now_us

    def waiting_for(self, parent_ids: Sequence[str]) -> list[str]:
        return [child for parent, child in self.data.orphans if parent in parent_ids]

    def adopt(self, parent_ids: Sequence[str], *, limit: int) -> list[Run]:
        pairs = [pair for pair in self.data.orphans if pair[0] in parent_ids][:limit]
        adopted = []
        for pair in pairs:
            del self.data.orphans[pair]
            parent, child = map(self.data.runs.get, pair)
            if parent is not None and child is not None:  # neither was deleted meanwhile
                put_below(child, parent)
                self.data.moves.add(child.id)
                adopted.append(child)
        return adopted

    def move_some(self) -> bool:
        if not self.data.moves:
            return False
        parent = self.data.runs.get(self.data.moves.pop())
        for child in self.data.runs.values():
            if parent is not None and child.parent_run_id == parent.id:
                before = child.root_run_id, child.flow_run_id
                put_below(child, parent)
                if before != (child.root_run_id, child.flow_run_id):
                    self.data.moves.add(child.id)
        return True

    def forget(self, *, created_before_us: int) -> int:
        old = [pair for pair, at_us in self.data.orphans.items() if at_us < created_before_us]
        for pair in old:
            del self.data.orphans[pair]
        return len(old)


class MemoryFenceWrites(_Rows):
    def of(self, session_id: str, run_ids: Iterable[str]) -> set[str]:
        return {run_id for run_id in run_ids if (session_id, run_id) in self.data.fences}

    def is_refused(self, run_id: str) -> bool:
        return any(run_id == fenced for _, fenced in self.data.fences)

    def add(self, session_id: str, run_id: str) -> None:
        self.data.fences.add((session_id, run_id))
        self.data.sessions[session_id].has_fences = True

    def delete_of(self, session_ids: Sequence[str]) -> None:
        gone = set(session_ids) - set(self.data.sessions)
        self.data.fences = {pair for pair in self.data.fences if pair[0] not in gone}


class MemoryLogWrites(_Rows):
    def add(self, entries: Sequence[LogEntry]) -> None:
        self.uow.writes += 1
        for entry in entries:
            stored = copy(entry)
            stored.position = len(self.data.logs) + 1
            self.data.logs.append(stored)


class MemoryLastSignWrites(_Rows):
    def note(self, run_id: str, at_us: int) -> None:
        self.data.last_signs[run_id] = at_us


class MemoryLogExportWrites(_Rows):
    def add(self, session_id: str, entries: Sequence[LogEntry]) -> None:
        first = len(self.data.logs) - len(entries) + 1
        waiting = self.data.log_exports.setdefault(session_id, [])
        waiting += range(first, first + len(entries))

    def forget(self, session_id: str, *, upto: int, limit: int) -> int:
        waiting = self.data.log_exports.get(session_id, [])
        gone = [each for each in waiting if each <= upto][:limit]
        self.data.log_exports[session_id] = waiting[len(gone) :]
        return len(gone)


class MemorySessionWrites(_Rows):
    def get(self, session_id: str) -> Session | None:
        return self.data.sessions.get(session_id)

    def save(self, session: Session) -> None:
        self.data.sessions[session.id] = session

    def save_resource(self, session_id: str, resource: Mapping[str, str]) -> None:
        self.data.resources[session_id] = dict(resource)

    def save_target(self, session_id: str, target: OtlpTarget | None) -> None:
        self.data.targets[session_id] = target

    def stored_signs(self) -> list[StoredSign]:
        return [
            StoredSign(session.id, session.renewals, session.lease_us, session.silence_us)
            for session in self.data.sessions.values()
            if session.status == SessionStatus.OPEN
        ]

    def delete(self, session_ids: Sequence[str], *, ended_before_us: int) -> int:
        ended = [
            session.id
            for session in map(self.data.sessions.get, session_ids)
            if session is not None
            and session.status != SessionStatus.OPEN
            and session.lease_expires_us < ended_before_us
            and not self.uow.runs.open_of(session.id).items
        ]
        for session_id in ended:
            del self.data.sessions[session_id]
            self.data.verdicts.pop(session_id, None)
            self.data.resources.pop(session_id, None)
            self.data.targets.pop(session_id, None)
        return len(ended)


class MemoryClaimWrites(_Rows):
    def get(self, loop: str) -> LoopClaim | None:
        return claim_of(self.data, loop, self.uow.now_us)

    def save(self, claim: LoopClaim) -> None:
        self.data.claims[claim.loop] = copy(claim), self.uow.now_us + claim.left_us


class MemoryCommandWrites(_Rows):
    def add(self, command: Command) -> None:
        self.data.commands.setdefault((command.run_id, command.number), command)

    def finish(self, run_id: str) -> None:
        for each in self.data.commands.values():
            if each.run_id == run_id and each.done_us is None:
                each.done_us = self.uow.now_us

    def move(self, run_id: str, session_id: str) -> None:
        for each in self.data.commands.values():
            if each.run_id == run_id and each.done_us is None:
                each.session_id = session_id

    def last_reason(self, run_id: str) -> str | None:
        of_run = [each for key, each in sorted(self.data.commands.items()) if key[0] == run_id]
        return of_run[-1].reason if of_run else None


class MemoryVerdictWrites(_Rows):
    def add(self, session_id: str, verdicts: Sequence[Verdict]) -> None:
        kept = self.data.verdicts.setdefault(session_id, [])
        kept += verdicts
        del kept[:-KEPT_VERDICTS]

    def after(self, session_id: str, sequence: int) -> list[Verdict]:
        kept = self.data.verdicts.get(session_id, [])
        return [verdict for verdict in kept if verdict.sequence > sequence]

    def delete_of(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            self.data.verdicts.pop(session_id, None)


class MemoryDeletionWrites(_Rows):
    def begun(self) -> set[str]:
        return self.data.deletions

    def begin(self, run: Run) -> None:
        self.data.deletions.add(run.id)

    def end(self, run_id: str) -> None:
        self.data.deletions.remove(run_id)

    def covers(self, run: Run) -> bool:
        above: Run | None = run
        while above is not None and above.id not in self.data.deletions:
            above = self.data.runs.get(above.parent_run_id or "")
        return above is not None

    def was_deleted(self, run_id: str) -> bool:
        return run_id in self.data.deleted

    def open_run_below(
        self, run_id: str, *, after: Place | None
    ) -> tuple[Run | None, Place | None]:
        del after
        runs = [run for run in tree_of(self.data, run_id) if not run.state.is_terminal]
        return min(runs, key=lambda run: run.id, default=None), None

    def delete_below(self, path: list[str]) -> int:
        """Delete one run, the newest first."""
        data = self.data
        tree = sorted(tree_of(data, path[0]), key=lambda run: run.id)
        if not tree:
            path.clear()
            return 0
        gone = tree[-1]
        del data.runs[gone.id]
        if not gone.state.is_terminal:
            data.deleted.add(gone.id)
        data.history = [each for each in data.history if each.run_id != gone.id]
        data.logs = [each for each in data.logs if each.run_id != gone.id]
        for each in list(data.artifacts.values()):
            if each.run_id == gone.id and each.key is None:
                del data.artifacts[each.id]
        data.labels.pop(gone.id, None)
        data.last_signs.pop(gone.id, None)
        for key in [key for key in data.commands if key[0] == gone.id]:
            del data.commands[key]
        return 1


class MemoryArtifactWrites(_Rows):
    def preload(self, artifact_ids: Sequence[str]) -> None:
        pass

    def get(self, artifact_id: str) -> Artifact | None:
        return self.data.artifacts.get(artifact_id)

    def put(self, artifact: Artifact) -> None:
        self.data.artifacts[artifact.id] = artifact

    def delete(self, *, artifact_id: str | None = None, key: str | None = None, limit: int) -> int:
        gone = [
            each.id
            for each in self.data.artifacts.values()
            if each.id == artifact_id or (key is not None and each.key == key)
        ][:limit]
        for each in gone:
            del self.data.artifacts[each]
        return len(gone)


class MemoryVariableWrites(_Rows):
    def get(self, name: str) -> Variable | None:
        return self.data.variables.get(name)

    def put(self, variable: Variable) -> None:
        self.data.variables[variable.name] = variable

    def delete(self, name: str) -> bool:
        return self.data.variables.pop(name, None) is not None


class MemoryLabelWrites(_Rows):
    def get(self, run_id: str) -> dict[str, str]:
        return dict(sorted(self.data.labels.get(run_id, {}).items()))

    def put(self, run_id: str, labels: Mapping[str, str]) -> None:
        self.uow.writes += bool(labels)
        self.data.labels.setdefault(run_id, {}).update(labels)

    def remove(self, run_id: str, keys: Collection[str]) -> None:
        self.uow.writes += bool(keys)
        for key in keys:
            del self.data.labels[run_id][key]


class MemoryUnitOfWork:
    """One transaction over a copy of the data."""

    def __init__(self, data: MemoryData, now_us: int, *, events_at_once: int = 1 << 30) -> None:
        self.data = data
        self.budget = MemoryBudget(events_at_once)
        self.now_us = now_us
        self.ended: list[Run] = []
        self.writes = 0
        self.spent = False
        self.artifacts = MemoryArtifactWrites(self)
        self.cancellations = MemoryCancellationWrites(self)
        self.claims = MemoryClaimWrites(self)
        self.commands = MemoryCommandWrites(self)
        self.deletions = MemoryDeletionWrites(self)
        self.families = MemoryFamilyWrites(self)
        self.fences = MemoryFenceWrites(self)
        self.labels = MemoryLabelWrites(self)
        self.last_signs = MemoryLastSignWrites(self)
        self.logs = MemoryLogWrites(self)
        self.log_exports = MemoryLogExportWrites(self)
        self.runs = MemoryRunWrites(self)
        self.sessions = MemorySessionWrites(self)
        self.variables = MemoryVariableWrites(self)
        self.verdicts = MemoryVerdictWrites(self)

    def is_spent(self) -> bool:
        return self.spent


def claim_of(data: MemoryData, loop: str, now_us: int) -> LoopClaim | None:
    """The claim of a loop at that time."""
    if loop not in data.claims:
        return None
    claim, until_us = data.claims[loop]
    return LoopClaim(loop, claim.holder, until_us - now_us, claim.position)


def tree_of(data: MemoryData, run_id: str) -> list[Run]:
    """The run and all that it called, directly or not."""
    if run_id not in data.runs:
        return []
    wanted = {run_id}
    grew = True
    while grew:
        more = {run.id for run in data.runs.values() if run.parent_run_id in wanted} - wanted
        wanted |= more
        grew = bool(more)
    return [data.runs[key] for key in wanted]
