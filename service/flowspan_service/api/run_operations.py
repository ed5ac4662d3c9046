"""The operations, checks and conversions that flow runs and task runs share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flowspan_service.api import limits
from flowspan_service.api.fields.checks import (
    all_of,
    by_id,
    check_id_part,
    check_optional_id,
    check_text,
    check_time,
    check_values,
    with_message,
    with_order,
    with_page,
)
from flowspan_service.api.fields.paging import Paging, is_oldest_first, selection_of
from flowspan_service.api.fields.states import (
    check_state,
    new_state,
    put_state,
    state_counts,
    transition_message,
    verdict_message,
)
from flowspan_service.api.fields.values import optional_microseconds, put_time
from flowspan_service.api.run_messages import RunMessages
from flowspan_service.app.cancellations import BeginCancel, CancelBelow
from flowspan_service.app.ports.runs import RunFilter, RunQuery
from flowspan_service.app.runs import SetState, get_run, history
from flowspan_service.domain.errors import AnswerTooLargeError
from flowspan_service.domain.verdicts import VerdictKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flowspan.v1 import flow_run_pb2, task_run_pb2
    from flowspan.v1.run_filter_pb2 import RunFilter as RunFilterMessage
    from flowspan.v1.run_filter_pb2 import StateCount
    from flowspan.v1.state_pb2 import State
    from flowspan.v1.transition_pb2 import Transition
    from flowspan.v1.verdict_pb2 import Verdict
    from flowspan_service.api.backend import Backend
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.runs import Run, RunKind

M = TypeVar("M")


class RunOperations(Generic[M]):
    """The operations of both services of runs, for one kind of runs.

    Args:
        backend: The store and what belongs to it.
        kind: The kind.
        message: Makes the message of a run.
        listed: Makes the message of a run in a list.
    """

    def __init__(
        self,
        backend: Backend,
        kind: RunKind,
        message: Callable[[Run], M],
        *,
        listed: Callable[[Run], M],
    ) -> None:
        self._backend = backend
        self._kind = kind
        self._message = message
        self._messages = RunMessages(backend.store, listed)

    async def get(self, run_id: str) -> M:
        """Return one run.

        Raises:
            NotFoundError: There is no such run of this kind.
        """
        backend = self._backend
        return self._message(await backend.read_row(get_run, backend.store, self._kind, run_id))

    async def page(self, request: Any) -> tuple[bytes, str]:
        """Return the runs of a page, as field 1 of the response, and the token of the next page.

        Raises:
            BadTokenError: The page token belongs to another query.
        """
        backend = self._backend
        oldest_first = is_oldest_first(request)
        bound_to = b"runs\0%d\0%d\0" % (self._kind, oldest_first) + selection_of(request)
        paging = Paging(backend.page_tokens, request, bound_to)
        query = RunQuery(
            kind=self._kind,
            filter=run_filter(request.filter),
            oldest_first=oldest_first,
            after_id=paging.after(),
            limit=paging.limit,
        )
        read = backend.read_row if query.is_cheap else backend.read
        runs, last_id = await read(self._messages.page, query)
        return runs, paging.token_at(last_id)

    async def counts(self, wanted: RunFilterMessage) -> list[StateCount]:
        """Return the number of runs per type of state."""
        backend = self._backend
        return state_counts(
            await backend.read(backend.store.runs.count, self._kind, run_filter(wanted))
        )

    async def set_state(self, run_id: str, state: State) -> tuple[Verdict, M]:
        """Propose a transition, and send the command that follows from it to the run's session.

        Raises:
            NotFoundError: There is no such run of this kind.
        """
        backend = self._backend
        outcome = await backend.write(SetState(self._kind, run_id, new_state(state)))
        accepted = outcome.verdict.kind == VerdictKind.ACCEPTED
        backend.activity.committed_transition_count += accepted
        if outcome.command is not None:
            self._tell((outcome.command,))
        return verdict_message(outcome.verdict), self._message(outcome.run)

    async def cancel(self, run_id: str, reason: str) -> tuple[Verdict, M, int]:
        """Cancel a run and its descendants; return also the number of runs asked to stop.

        Raises:
            NotFoundError: There is no such run of this kind.
        """
        backend = self._backend
        begun = await backend.write(BeginCancel(self._kind, run_id, reason))
        backend.activity.committed_transition_count += begun.asked.transition_count
        self._tell(begun.asked.commands)
        count = begun.asked.run_count
        if begun.goes_on:
            backend.under_way.add(run_id)
            try:
                below = await backend.write(CancelBelow(run_id))
            finally:
                backend.under_way.discard(run_id)
            backend.activity.committed_transition_count += below.transition_count
            self._tell(below.commands)
            count += below.run_count
        return verdict_message(begun.verdict), self._message(begun.run), count

    def _tell(self, commands: Iterable[Command]) -> None:
        """Send commands to the sessions that are connected here."""
        for command in commands:
            connection = self._backend.connections.get(command.session_id)
            if connection is not None:
                connection.tell(command)

    async def history(self, request: Any) -> tuple[list[Transition], str]:
        """Return a page of a run's transitions, and the token of the next page.

        Clients that predate paging send no page size, and expect the whole history.

        Raises:
            AnswerTooLargeError: The whole history is wanted and too large for one message.
            BadTokenError: The page token belongs to another query.
            NotFoundError: There is no such run of this kind.
        """
        backend = self._backend
        wants_all = not request.page_size and not request.page_token
        bound_to = f"history\0{request.DESCRIPTOR.name}\0{request.id}".encode()
        default_limit = limits.WHOLE_HISTORY if wants_all else limits.PAGE_TRANSITIONS
        paging = Paging(backend.page_tokens, request, bound_to, default_limit=default_limit)
        after = paging.after_number()

        def read() -> tuple[list[Transition], str]:
            page = history(
                backend.store,
                self._kind,
                run_id=request.id,
                after_ordinal=after,
                limit=paging.limit,
                limit_bytes=limits.WHOLE_MESSAGE if wants_all else limits.PAGE_MESSAGE,
            )
            if page.has_more and wants_all:
                raise _history_too_large(request.id, len(page.items))
            messages = [transition_message(each) for each in page.items]
            return messages, paging.token_after(page, lambda each: each.ordinal)

        return await backend.read(read)


def _history_too_large(run_id: str, read_count: int) -> AnswerTooLargeError:
    return AnswerTooLargeError(
        f"The history of the run {run_id} is too large for one message: it has more "
        f"than {read_count} transitions.",
        advice="Read it page by page, with page_size; older clients need an update for that.",
        run_id=run_id,
    )


def check_filter(wanted: RunFilterMessage, field: str) -> None:
    """Check a filter of runs."""
    for name in ("state_types", "state_names", "function_names", "tags"):
        check_values(getattr(wanted, name), f"{field}.{name}")
    for name in ("parent_run_id", "root_run_id", "flow_run_id"):
        check_optional_id(getattr(wanted, name), f"{field}.{name}")
    if wanted.HasField("created_after"):
        check_time(wanted.created_after, f"{field}.created_after")
    if wanted.HasField("created_before"):
        check_time(wanted.created_before, f"{field}.created_before")
    check_text(wanted.run_name, f"{field}.run_name", limits.NAME)
    check_id_part(wanted.id_prefix, f"{field}.id_prefix", "beginning")
    check_id_part(wanted.id_suffix, f"{field}.id_suffix", "end")


def check_count(request: Any) -> None:
    """Check a request to count runs."""
    check_filter(request.filter, "filter")


def _check_reason(request: Any) -> None:
    check_text(request.reason, "reason", limits.REASON)


check_cancel = all_of(by_id, _check_reason)
check_list = all_of(check_count, with_order, with_page(limits.PAGE_RUNS))
check_set_state = all_of(by_id, with_message("state", check_state))
check_history = all_of(by_id, with_page(limits.PAGE_TRANSITIONS))


def run_filter(wire: RunFilterMessage) -> RunFilter:
    """Return the filter of a message."""
    return RunFilter(
        state_types=tuple(wire.state_types),
        state_names=tuple(wire.state_names),
        function_names=tuple(wire.function_names),
        tags=tuple(wire.tags),
        parent_run_id=wire.parent_run_id or None,
        root_run_id=wire.root_run_id or None,
        flow_run_id=wire.flow_run_id or None,
        top_level_only=wire.top_level_only,
        created_after_us=optional_microseconds(wire, "created_after"),
        created_before_us=optional_microseconds(wire, "created_before"),
        run_name=wire.run_name or None,
        id_prefix=wire.id_prefix or None,
        id_suffix=wire.id_suffix or None,
    )


def put_course(wire: flow_run_pb2.FlowRun | task_run_pb2.TaskRun, run: Run) -> None:
    """Set the state and the times of a run in place."""
    put_state(wire.state, run.state)
    put_time(wire.create_time, run.created_us)
    if run.started_us is not None:
        put_time(wire.start_time, run.started_us)
    if run.ended_us is not None:
        put_time(wire.end_time, run.ended_us)
    put_time(wire.run_duration, run.run_duration_us)
