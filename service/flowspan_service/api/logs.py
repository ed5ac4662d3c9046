"""Logs of runs: LogService, and the conversion of log records."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowspan.v1 import log_pb2
from flowspan.v1 import log_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.calls.keep_alives import KeepAlive
from flowspan_service.api.fields.checks import (
    Checks,
    all_of,
    check_id,
    check_text,
    check_time,
    check_values,
    invalid,
    with_order,
    with_page,
)
from flowspan_service.api.fields.page_tokens import out_of_range
from flowspan_service.api.fields.paging import Paging
from flowspan_service.api.fields.values import optional_microseconds, timestamp
from flowspan_service.app.ports.logs import LogQuery
from flowspan_service.app.runs import beyond_the_end, get_run_of_any_kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call
    from flowspan_service.app.ports import Store
    from flowspan_service.app.ports.logs import LogPage
    from flowspan_service.domain.logs import LogEntry

# ruff: noqa: N802 - methods are named as in the protos


class LogService:
    """The servicer of LogService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def ListLogs(self, request: pb.ListLogsRequest, _: Call) -> pb.ListLogsResponse:
        """Return a page of log records."""
        backend = self._backend
        paging = Paging(
            backend.page_tokens, request, _bound_to(request), default_limit=limits.PAGE_LOGS_DEFAULT
        )
        after = paging.after_number()
        if after and after > await backend.read(backend.store.log_position):
            raise beyond_the_end("page_token")
        is_newest_first = request.order == pb.LOG_ORDER_NEWEST_FIRST
        await backend.read(get_run_of_any_kind, backend.store, request.run_id)
        query = replace(
            _query(request, after=after), newest_first=is_newest_first, limit=paging.limit
        )
        page, messages = await backend.read(_read_page, backend.store, query)
        return pb.ListLogsResponse(
            logs=messages,
            next_page_token=paging.token_at(page.looked_at if page.has_more else None),
            order=pb.LOG_ORDER_NEWEST_FIRST if is_newest_first else pb.LOG_ORDER_OLDEST_FIRST,
        )

    async def TailLogs(
        self, request: pb.TailLogsRequest, _: Call
    ) -> AsyncIterator[pb.TailLogsResponse]:
        """Yield log records as they arrive, until the run has ended."""
        backend = self._backend
        after = request.after_position
        if after and after > await backend.read(backend.store.log_position):
            raise out_of_range(
                "the database has no such record (a backup was restored?)", field="after_position"
            )
        run = await backend.read(get_run_of_any_kind, backend.store, request.run_id)
        keep_alive = KeepAlive()
        with backend.notifier.mark(run.root_run_id) as mark:
            while True:
                mark.take()
                # Read the run before its logs: if it has ended by then, the logs are complete.
                run = await backend.read(get_run_of_any_kind, backend.store, request.run_id)
                query = _query(request, after=after)
                page, messages = await backend.read(_read_page, backend.store, query)
                after = page.looked_at
                if messages or keep_alive.is_due:
                    yield pb.TailLogsResponse(logs=messages, position=after)
                    keep_alive.sent()
                if not page.has_more:
                    if run.state.is_terminal:
                        return
                    await keep_alive.wait(backend.next_change(mark))


def _check_selection(request: Any) -> None:
    check_id(request.run_id, "run_id")
    if request.min_level < 0:
        raise invalid("min_level", "is negative")
    check_values(request.loggers, "loggers")
    if request.HasField("logged_after"):
        check_time(request.logged_after, "logged_after")
    check_text(request.message_contains, "message_contains", limits.NAME)


def _check_position(request: pb.TailLogsRequest) -> None:
    if request.after_position < 0:
        raise invalid("after_position", "is negative")


CHECKS: Checks = {
    pb.ListLogsRequest: all_of(_check_selection, with_order, with_page(limits.PAGE_LOGS)),
    pb.TailLogsRequest: all_of(_check_selection, _check_position),
}


def log_message(entry: LogEntry) -> log_pb2.LogRecord:
    """Return the message of a log record."""
    return log_pb2.LogRecord(
        position=entry.position,
        run_id=entry.run_id,
        level=entry.level,  # type: ignore[arg-type] # an int, as enums of protobuf are
        time=timestamp(entry.time_us),
        logger=entry.logger,
        message=entry.message,
        trace_id=entry.trace_id,
        span_id=entry.span_id,
        chunk_index=entry.chunk_index,
        chunk_count=entry.chunk_count,
        attempt=entry.attempt,
    )


def _read_page(store: Store, query: LogQuery) -> tuple[LogPage, list[log_pb2.LogRecord]]:
    """Read a page, and make its up to 10,000 messages in the same reader thread."""
    page = store.logs.list(query)
    return page, [log_message(entry) for entry in page.items]


def _query(request: pb.ListLogsRequest | pb.TailLogsRequest, *, after: int) -> LogQuery:
    return LogQuery(
        run_id=request.run_id,
        include_descendants=request.include_descendants,
        min_level=request.min_level,
        after_position=after,
        loggers=tuple(request.loggers),
        logged_after_us=optional_microseconds(request, "logged_after"),
        message_contains=request.message_contains,
        limit=limits.PAGE_LOGS_DEFAULT,
        limit_bytes=limits.PAGE_MESSAGE,
    )


def _bound_to(request: pb.ListLogsRequest) -> bytes:
    """Return the bytes that a page token is bound to: all filters and the order."""
    selection = pb.ListLogsRequest()
    selection.CopyFrom(request)
    selection.ClearField("page_token")
    selection.ClearField("page_size")
    return b"logs\0" + selection.SerializeToString(deterministic=True)
