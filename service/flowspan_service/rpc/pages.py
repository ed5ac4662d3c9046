"""Pages of runs: the query of a list request, and the answer's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from flowspan_service.app.queries import RunQuery
from flowspan_service.rpc import limits
from flowspan_service.rpc.tokens import seal, unseal
from flowspan_service.rpc.translate import run_filter

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.app.queries import Page
    from flowspan_service.domain.runs import Run

M = TypeVar("M")

_OLDEST_FIRST = 2


def run_query(request: Any, kind: int) -> RunQuery:
    """The query of a ListFlowRunsRequest or ListTaskRunsRequest.

    Raises:
        BadTokenError: The page token belongs to another query.
    """
    after_id = None
    if request.page_token:
        after_id = unseal(request.page_token, query=_bound_to(request, kind), field="page_token")
    return RunQuery(
        kind=kind,
        filter=run_filter(request.filter),
        oldest_first=request.order == _OLDEST_FIRST,
        after_id=after_id,
        limit=request.page_size or limits.PAGE_RUNS_DEFAULT,
    )


def run_page(
    request: Any, kind: int, page: Page[Run], make: Callable[[Run], M]
) -> tuple[list[M], str]:
    """The messages of a page, and the token of the next one; empty on the last.

    A page ends early where its message would become too large.
    """
    messages: list[M] = []
    size = 0
    for run in page.items:
        message = make(run)
        size += message.ByteSize()  # type: ignore[attr-defined] # a message
        if messages and size > limits.PAGE_MESSAGE:
            break
        messages.append(message)
    if not messages or (len(messages) == len(page.items) and not page.has_more):
        return messages, ""
    last = page.items[len(messages) - 1]
    return messages, seal(last.id, query=_bound_to(request, kind))


def _bound_to(request: Any, kind: int) -> bytes:
    selection: bytes = request.filter.SerializeToString(deterministic=True)
    return b"runs\0%d\0%d\0" % (kind, request.order == _OLDEST_FIRST) + selection
