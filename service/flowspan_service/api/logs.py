"""LogService: the logs of runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowspan.v1 import log_service_pb2, log_service_pb2_grpc
from flowspan_service.api import limits
from flowspan_service.api.tokens import out_of_range
from flowspan_service.api.translate import log_message, microseconds
from flowspan_service.app.queries import LogQuery
from flowspan_service.app.runs import beyond_the_end, get_run_of_any_kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flowspan.v1 import log_pb2
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.edge import CallContext
    from flowspan_service.app.ports import Store
    from flowspan_service.app.queries import LogPage


class LogService(log_service_pb2_grpc.LogServiceServicer):
    """See log_service.proto."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def ListLogs(  # noqa: N802 - the name in the proto
        self, request: log_service_pb2.ListLogsRequest, context: CallContext
    ) -> log_service_pb2.ListLogsResponse:
        """A page of log records."""
        del context
        backend = self._backend
        bound_to = _bound_to(request)
        after = 0
        if request.page_token:
            after = backend.tokens.unseal_number(request.page_token, query=bound_to)
            if after > await backend.read(backend.store.log_position):
                raise beyond_the_end("page_token")
        is_newest_first = request.order == log_service_pb2.LOG_ORDER_NEWEST_FIRST
        await backend.read(get_run_of_any_kind, backend.store, request.run_id)
        query = replace(
            _query(request, after=after),
            newest_first=is_newest_first,
            limit=request.page_size or limits.PAGE_LOGS_DEFAULT,
        )
        page, messages = await backend.read(_read_page, backend.store, query)
        return log_service_pb2.ListLogsResponse(
            logs=messages,
            next_page_token=(
                backend.tokens.seal(page.looked_at, query=bound_to) if page.has_more else ""
            ),
            order=(
                log_service_pb2.LOG_ORDER_NEWEST_FIRST
                if is_newest_first
                else log_service_pb2.LOG_ORDER_OLDEST_FIRST
            ),
        )

    async def TailLogs(  # noqa: N802 - the name in the proto
        self, request: log_service_pb2.TailLogsRequest, context: CallContext
    ) -> AsyncIterator[log_service_pb2.TailLogsResponse]:
        """Log records as they arrive, until the run has ended."""
        del context
        backend = self._backend
        after = request.after_position
        if after and after > await backend.read(backend.store.log_position):
            raise out_of_range(
                "the database has no such record (a backup was restored?)", field="after_position"
            )
        run = await backend.read(get_run_of_any_kind, backend.store, request.run_id)
        with backend.hub.mark(run.root_run_id) as mark:
            while True:
                mark.take()
                # The run is looked at first: when it had ended by then, all that it logged is read.
                run = await backend.read(get_run_of_any_kind, backend.store, request.run_id)
                query = _query(request, after=after)
                page, messages = await backend.read(_read_page, backend.store, query)
                after = page.looked_at
                if messages:
                    yield log_service_pb2.TailLogsResponse(logs=messages)
                if not page.has_more:
                    if run.state.is_terminal:
                        return
                    await backend.next_change(mark)


def _read_page(store: Store, query: LogQuery) -> tuple[LogPage, list[log_pb2.LogRecord]]:
    """A page and its messages, both made in the reading thread: a page has up to 10,000."""
    page = store.list_logs(query)
    return page, [log_message(entry) for entry in page.items]


def _query(
    request: log_service_pb2.ListLogsRequest | log_service_pb2.TailLogsRequest, *, after: int
) -> LogQuery:
    has_time = request.HasField("logged_after")
    return LogQuery(
        run_id=request.run_id,
        include_descendants=request.include_descendants,
        min_level=request.min_level,
        after_position=after,
        loggers=tuple(request.loggers),
        logged_after_us=microseconds(request.logged_after) if has_time else None,
        message_contains=request.message_contains,
        limit=limits.PAGE_LOGS_DEFAULT,
        limit_bytes=limits.PAGE_MESSAGE,
    )


def _bound_to(request: log_service_pb2.ListLogsRequest) -> bytes:
    """Return the text that a page token is bound to: all filters and the order."""
    selection = log_service_pb2.ListLogsRequest()
    selection.CopyFrom(request)
    selection.ClearField("page_token")
    selection.ClearField("page_size")
    return b"logs\0" + selection.SerializeToString(deterministic=True)
