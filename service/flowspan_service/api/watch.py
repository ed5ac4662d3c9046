"""Watches: WatchService, which sends changes as they happen."""

from __future__ import annotations

import json
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from flowspan.v1 import watch_service_pb2 as pb
from flowspan_service.api.calls.keep_alives import KeepAlive
from flowspan_service.api.fields.checks import Checks, check_optional_id, invalid
from flowspan_service.api.fields.page_tokens import WatchPlace, out_of_range
from flowspan_service.api.fields.states import transition_message
from flowspan_service.api.flow_runs import listed_flow_run_message
from flowspan_service.api.run_operations import check_filter, run_filter
from flowspan_service.api.task_runs import listed_task_run_message
from flowspan_service.app.ports.runs import RunFilter
from flowspan_service.app.runs import get_run_of_any_kind
from flowspan_service.app.watching import NO_FILTER, Watched, snapshot_pages
from flowspan_service.domain.runs import RunKind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call
    from flowspan_service.api.fields.page_tokens import PageTokens
    from flowspan_service.app.feeds import Feed
    from flowspan_service.app.watching import WatchedChange
    from flowspan_service.domain.runs import Run

TokenOf: TypeAlias = "Callable[[WatchPlace], str]"
"""Makes the resume token of one watch."""

WATCHED_FIELDS = (
    *("function_names", "tags", "parent_run_id", "root_run_id", "flow_run_id"),
    *("top_level_only", "created_after", "created_before", "run_name"),
)
"""The fields of RunFilter about what never changes in a run."""

_SCOPES = frozenset(pb.SnapshotScope.values())
_NO_SNAPSHOT = (pb.SNAPSHOT_SCOPE_UNSPECIFIED, pb.SNAPSHOT_SCOPE_NONE)


class WatchService:
    """The servicer of WatchService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def Watch(  # noqa: N802 - the name in the proto
        self, request: pb.WatchRequest, _: Call
    ) -> AsyncIterator[pb.WatchResponse | bytes]:
        """Yield a snapshot of the runs, a mark, and then every transition."""
        backend, run_id = self._backend, request.run_id or None
        wanted = run_filter(request.filter) if request.HasField("filter") else NO_FILTER
        bound_to = _bound_to(request.run_id, wanted)
        token_of = partial(_resume_token, backend.page_tokens, bound_to)
        root_run_id, after = None, 0
        if request.resume_token:
            after = await self._place(request.resume_token, bound_to)
        if run_id is not None:
            run = await backend.read(get_run_of_any_kind, backend.store, run_id)
            root_run_id = run.root_run_id
        watched = Watched(run_id, root_run_id, request.flow_runs_only, wanted)
        if not request.resume_token:
            after = await backend.read(backend.store.position)
            count = 0
            async for run in self._snapshot(after, watched, request):
                count += 1
                yield _snapshot_message(run)
            yield pb.WatchResponse(
                snapshot_end=pb.SnapshotEnd(run_count=count),
                resume_token=await self._token_at(after, token_of),
            )
        encode = partial(_encoded_change, token_of)
        with backend.feeds.watch(watched, after, encode) as feed:
            async with aclosing(self._changes(feed, watched, after, encode)) as changes:
                async for upto, message in changes:
                    yield message or await self._keep_alive(upto, token_of)

    async def _changes(
        self, feed: Feed, watched: Watched, after: int, encode: Callable[[WatchedChange], bytes]
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yield the encoded changes after a position, until the watched run has ended.

        Each comes with its position. An empty one stands for a keep-alive, at the position up to
        which there are no further changes.
        """
        backend, keep_alive = self._backend, KeepAlive()
        while True:
            if after < feed.begin:
                # The feed no longer holds these changes; the store does.
                found = await backend.feeds.read(watched, encode, after)
                messages, upto, has_ended = found.messages, found.looked_at, found.has_ended
            else:
                messages, upto, has_ended = feed.after(after), feed.position, feed.has_ended
            for position, message in messages:
                yield position, message
            if messages:
                keep_alive.sent()
            if has_ended:
                return
            after = max(after, upto)
            if keep_alive.is_due:
                yield after, b""
                keep_alive.sent()
            elif after >= feed.begin:
                backend.check_not_stopping()
                await keep_alive.wait(feed.news(after))

    async def _keep_alive(self, position: int, token_of: TokenOf) -> pb.WatchResponse:
        token = await self._token_at(position, token_of)
        return pb.WatchResponse(keep_alive=pb.KeepAlive(), resume_token=token)

    async def _token_at(self, position: int, token_of: TokenOf) -> str:
        """Return the token to resume after a position, at which there may be no transition."""
        backend = self._backend
        commit_us = await backend.read(backend.store.transitions.commit_time, position)
        return token_of(WatchPlace(position, commit_us))

    async def _place(self, token: str, bound_to: bytes) -> int:
        """Return the position of a resume token.

        Raises:
            BadTokenError: The token is invalid, or belongs to another watch.
            TokenOutOfRangeError: The database does not have that position, or has another
                transition there.
        """
        backend = self._backend
        place = backend.page_tokens.unseal_watch(token, query=bound_to)
        if place.position > await backend.read(backend.store.position):
            raise out_of_range("the database is in an earlier state (a backup was restored?)")
        commit_us = await backend.read(backend.store.transitions.commit_time, place.position)
        # A transition that was deleted since cannot be compared.
        if commit_us and place.commit_us and commit_us != place.commit_us:
            raise out_of_range("the database has another history (a backup was restored?)")
        return place.position

    async def _snapshot(
        self, at: int, watched: Watched, request: pb.WatchRequest
    ) -> AsyncIterator[Run]:
        if request.changes_only or request.snapshot == pb.SNAPSHOT_SCOPE_NONE:
            return
        backend = self._backend
        pages = snapshot_pages(
            backend.store,
            watched,
            at=at,
            active_only=request.snapshot == pb.SNAPSHOT_SCOPE_ACTIVE,
        )
        while (page := await backend.read(next, pages, None)) is not None:
            for run in page:
                yield run


def _check_watch(request: pb.WatchRequest) -> None:
    check_optional_id(request.run_id, "run_id")
    if request.snapshot not in _SCOPES:
        raise invalid("snapshot", f"{request.snapshot} is not known")
    if request.changes_only and request.snapshot not in _NO_SNAPSHOT:
        raise invalid("snapshot", "contradicts changes_only, which skips the snapshot")
    check_filter(request.filter, "filter")
    for field, _ in request.filter.ListFields():
        if field.name not in WATCHED_FIELDS:
            raise invalid(
                f"filter.{field.name}",
                f"a watch cannot filter by it, only by {', '.join(WATCHED_FIELDS)}",
            )


CHECKS: Checks = {pb.WatchRequest: _check_watch}


def _snapshot_message(run: Run) -> pb.WatchResponse:
    if run.kind == RunKind.FLOW:
        return pb.WatchResponse(flow_run=listed_flow_run_message(run))
    return pb.WatchResponse(task_run=listed_task_run_message(run))


def _bound_to(run_id: str, wanted: RunFilter) -> bytes:
    """Return the bytes that a resume token is bound to: the run and the filter.

    The order of the filter's values makes no difference, and neither do fields that it does not
    set: a later version may have more of them.
    """
    values = {name: _sorted(getattr(wanted, name)) for name in RunFilter.__slots__}
    # Not by truth: the beginning of 1970 is a time to filter by.
    unset = [name for name, value in values.items() if value is False or value in (None, [])]
    fields = {name: value for name, value in values.items() if name not in unset}
    bound_to = b"watch\0" + run_id.encode()
    if not fields:
        return bound_to
    return bound_to + b"\0" + json.dumps(fields, sort_keys=True).encode()


def _sorted(value: Any) -> Any:
    return sorted(set(value)) if isinstance(value, tuple) else value


def _resume_token(tokens: PageTokens, bound_to: bytes, place: WatchPlace) -> str:
    return tokens.seal_watch(place, query=bound_to)


def _encoded_change(token_of: TokenOf, change: WatchedChange) -> bytes:
    """Encode a change once for all watches of the same runs; called in a thread."""
    token = token_of(WatchPlace(change.transition.position, change.transition.commit_us))
    return pb.WatchResponse(change=_change_message(change), resume_token=token).SerializeToString()


def _change_message(change: WatchedChange) -> pb.Change:
    message = pb.Change(transition=transition_message(change.transition))
    if change.created is not None:
        if change.created.kind == RunKind.FLOW:
            message.flow_run.CopyFrom(listed_flow_run_message(change.created))
        else:
            message.task_run.CopyFrom(listed_task_run_message(change.created))
    return message
