"""Watches: WatchService, which sends changes as they happen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flowspan.v1 import watch_service_pb2 as pb
from flowspan_service.api.checks import Checks, check_optional_id
from flowspan_service.api.flow_runs import listed_flow_run_message
from flowspan_service.api.states import transition_message
from flowspan_service.api.task_runs import listed_task_run_message
from flowspan_service.api.tokens import WatchPlace, out_of_range
from flowspan_service.app.feeds import Watched
from flowspan_service.app.runs import get_run_of_any_kind
from flowspan_service.app.watching import snapshot_pages
from flowspan_service.domain.runs import RunKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from flowspan_service.api.backend import Backend
    from flowspan_service.api.call import Call
    from flowspan_service.api.tokens import Tokens
    from flowspan_service.app.feeds import Feed
    from flowspan_service.app.watching import WatchedChange
    from flowspan_service.domain.runs import Run


class WatchService:
    """The servicer of WatchService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def Watch(  # noqa: N802 - the name in the proto
        self, request: pb.WatchRequest, _: Call
    ) -> AsyncIterator[pb.WatchResponse | bytes]:
        """Yield a snapshot of the runs, a mark, and then every transition."""
        backend, run_id = self._backend, request.run_id or None
        bound_to = b"watch\0" + request.run_id.encode()
        root_run_id, after = None, 0
        if request.resume_token:
            after = await self._place(request.resume_token, bound_to)
        if run_id is not None:
            run = await backend.read(get_run_of_any_kind, backend.store, run_id)
            root_run_id = run.root_run_id
        if not request.resume_token:
            after = await backend.read(backend.store.position)
            count = 0
            if not request.changes_only:
                async for run in self._snapshot(after, request):
                    count += 1
                    yield _snapshot_message(run)
            yield pb.WatchResponse(
                snapshot_end=pb.SnapshotEnd(run_count=count),
                resume_token=backend.tokens.seal_watch(
                    WatchPlace(
                        after, await backend.read(backend.store.transitions.commit_time, after)
                    ),
                    query=bound_to,
                ),
            )
        watched = Watched(run_id, root_run_id, request.flow_runs_only)
        encode = partial(_encoded_change, backend.tokens, bound_to)
        with backend.feeds.watch(watched, after, encode) as feed:
            async for message in self._changes(feed, watched, after, encode):
                yield message

    async def _changes(
        self, feed: Feed, watched: Watched, after: int, encode: Callable[[WatchedChange], bytes]
    ) -> AsyncIterator[Any]:
        """Yield the encoded changes after a position, until the watched run has ended."""
        backend = self._backend
        while True:
            if after < feed.begin:
                # The feed no longer holds these changes; the store does.
                found = await backend.feeds.read(watched, encode, after)
                messages, upto, has_ended = found.messages, found.looked_at, found.has_ended
            else:
                messages, upto, has_ended = feed.after(after), feed.position, feed.has_ended
            for _, message in messages:
                yield message
            if has_ended:
                return
            after = max(after, upto)
            if after >= feed.begin:
                backend.check_not_stopping()
                await feed.news(after)

    async def _place(self, token: str, bound_to: bytes) -> int:
        """Return the position of a resume token.

        Raises:
            BadTokenError: The token is invalid, or belongs to another watch.
            TokenOutOfRangeError: The database does not have that position, or has another
                transition there.
        """
        backend = self._backend
        place = backend.tokens.unseal_watch(token, query=bound_to)
        if place.position > await backend.read(backend.store.position):
            raise out_of_range("the database is in an earlier state (a backup was restored?)")
        commit_us = await backend.read(backend.store.transitions.commit_time, place.position)
        # A transition that was deleted since cannot be compared.
        if commit_us and place.commit_us and commit_us != place.commit_us:
            raise out_of_range("the database has another history (a backup was restored?)")
        return place.position

    async def _snapshot(self, at: int, request: pb.WatchRequest) -> AsyncIterator[Run]:
        backend = self._backend
        pages = snapshot_pages(
            backend.store,
            at=at,
            run_id=request.run_id or None,
            flow_runs_only=request.flow_runs_only,
        )
        while (page := await backend.read(next, pages, None)) is not None:
            for run in page:
                yield run


def _check_watch(request: pb.WatchRequest) -> None:
    check_optional_id(request.run_id, "run_id")


CHECKS: Checks = {pb.WatchRequest: _check_watch}


def _snapshot_message(run: Run) -> pb.WatchResponse:
    if run.kind == RunKind.FLOW:
        return pb.WatchResponse(flow_run=listed_flow_run_message(run))
    return pb.WatchResponse(task_run=listed_task_run_message(run))


def _encoded_change(tokens: Tokens, bound_to: bytes, change: WatchedChange) -> bytes:
    """Encode a change once for all watches of the same runs; called in a thread."""
    place = WatchPlace(change.transition.position, change.transition.commit_us)
    token = tokens.seal_watch(place, query=bound_to)
    return pb.WatchResponse(change=_change_message(change), resume_token=token).SerializeToString()


def _change_message(change: WatchedChange) -> pb.Change:
    message = pb.Change(transition=transition_message(change.transition))
    if change.created is not None:
        if change.created.kind == RunKind.FLOW:
            message.flow_run.CopyFrom(listed_flow_run_message(change.created))
        else:
            message.task_run.CopyFrom(listed_task_run_message(change.created))
    return message
