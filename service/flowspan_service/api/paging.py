"""Pages of runs and of histories: the query of a list request, and the answer's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from flowspan_service.api import limits
from flowspan_service.api.translate import run_filter, transition_message
from flowspan_service.app.queries import RunQuery
from flowspan_service.domain.errors import AnswerTooLargeError

if TYPE_CHECKING:
    from flowspan.v1 import transition_pb2
    from flowspan_service.api.tokens import Tokens
    from flowspan_service.app.queries import Page
    from flowspan_service.domain.runs import Transition

M = TypeVar("M")

_OLDEST_FIRST = 2


def run_query(tokens: Tokens, request: Any, kind: int) -> RunQuery:
    """The query of a ListFlowRunsRequest or ListTaskRunsRequest.

    Raises:
        BadTokenError: The page token belongs to another query.
    """
    after_id = None
    if request.page_token:
        after_id = tokens.unseal(request.page_token, query=_bound_to(request, kind))
    return RunQuery(
        kind=kind,
        filter=run_filter(request.filter),
        oldest_first=request.order == _OLDEST_FIRST,
        after_id=after_id,
        limit=request.page_size or limits.PAGE_RUNS_DEFAULT,
    )


def next_token(tokens: Tokens, request: Any, kind: int, last_id: str | None) -> str:
    """Return the token of the page after a run; empty if there is none."""
    return "" if last_id is None else tokens.seal(last_id, query=_bound_to(request, kind))


def history_query(tokens: Tokens, request: Any) -> dict[str, Any]:
    """The arguments of `history` for a ListFlowRunTransitionsRequest, or one of a task run.

    Raises:
        BadTokenError: The page token belongs to another query.
    """
    after = 0
    if request.page_token:
        after = tokens.unseal_number(request.page_token, query=_of_run(request))
    query = {"run_id": request.id, "after_ordinal": after, "limit_bytes": limits.PAGE_MESSAGE}
    if _wants_all(request):
        return {**query, "limit": limits.WHOLE_HISTORY, "limit_bytes": limits.WHOLE_MESSAGE}
    return {**query, "limit": request.page_size or limits.PAGE_TRANSITIONS}


def history_page(
    tokens: Tokens, request: Any, page: Page[Transition]
) -> tuple[list[transition_pb2.Transition], str]:
    """The messages of a page of a history, and the token of the next one; empty on the last.

    Raises:
        AnswerTooLargeError: No pages were asked for, and the history is more than a message holds.
    """
    if page.has_more and _wants_all(request):
        raise AnswerTooLargeError(
            f"The history of the run {request.id} is larger than one message may be: it has more "
            f"than {len(page.items)} transitions.",
            advice="Read it page by page, with page_size; older clients need an update for that.",
            run_id=request.id,
        )
    messages = [transition_message(each) for each in page.items]
    if not page.has_more:
        return messages, ""
    return messages, tokens.seal(page.items[-1].ordinal, query=_of_run(request))


def _wants_all(request: Any) -> bool:
    """Whether the request is that of a client older than pages, which expects everything."""
    return not request.page_size and not request.page_token


def _of_run(request: Any) -> bytes:
    return f"history\0{request.DESCRIPTOR.name}\0{request.id}".encode()


def _bound_to(request: Any, kind: int) -> bytes:
    selection: bytes = request.filter.SerializeToString(deterministic=True)
    return b"runs\0%d\0%d\0" % (kind, request.order == _OLDEST_FIRST) + selection
