"""Operations on the logs of runs."""

from __future__ import annotations

import logging
import sys
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from flowspan.api.chunks import BackwardJoiner, ChunkJoiner
from flowspan.api.log_search import LogSearch
from flowspan.api.requests import Give, begin_again, call, follow, pages
from flowspan.v1 import log_service_pb2 as pb

if TYPE_CHECKING:
    import re
    from collections.abc import Generator, Iterable
    from datetime import datetime
    from typing import Any
    from uuid import UUID

    from flowspan.api import models
    from flowspan.api.requests import Items, Step
    from flowspan.exceptions import ApiError
    from flowspan.v1 import log_pb2

_log = logging.getLogger("flowspan.client")

_LIST = "LogService/ListLogs"
_BACKWARD_PAGES = (100, 1000)


def read_logs(
    run_id: UUID | str,
    *,
    include_descendants: bool = False,
    min_level: int = 0,
    loggers: Iterable[str] = (),
    logged_after: datetime | None = None,
    pattern: str | re.Pattern[str] | None = None,
    last: int | None = None,
    limit: int | None = None,
    page_size: int = 0,
) -> Items[models.LogRecord]:
    """Iterate over complete log records in order of arrival.

    A record must match every filter.

    Args:
        run_id: A flow run or a task run.
        include_descendants: True to include the records of the run's descendants.
        min_level: The lowest level to include; see LogLevel.
        loggers: The loggers to include, with their children: "app" includes "app.db".
        logged_after: The earliest time to include, by the clock of the process that logged the
            record; an aware datetime.
        pattern: A regular expression that must match somewhere in the message. The service
            searches literal text; other patterns are matched by the client.
        last: The maximum number of matching records, from the end; None for all. The log is read
            backwards, so a long log costs no more than a short one.
        limit: The maximum number of matching records, from the start; None for all.
        page_size: The number fetched at a time, 1 to 10,000; 0 for the service's default.

    Raises:
        ValueError: `last` is less than 1 or combined with `limit`, or a filter is empty.
        ObjectNotFound: There is no such run.
    """
    search = LogSearch(
        min_level=min_level, loggers=loggers, logged_after=logged_after, pattern=pattern
    )
    request = pb.ListLogsRequest(
        run_id=str(run_id), include_descendants=include_descendants, page_size=page_size
    )
    search.fill(request)
    if last is not None:
        if limit is not None:
            raise ValueError("pass either `last` or `limit`, not both")
        end = yield from _read_end(request, search, last)
        records = [*end.records, *search.of(end.unfinished_records())]
        yield Give(records[-last:])
        return
    joiner = ChunkJoiner()
    yield from pages(
        _LIST,
        request,
        pb.ListLogsResponse,
        lambda page: search.of(joiner.join(page.logs)),
        limit=limit,
        rest=lambda: search.of(joiner.rest()),
    )


def tail_logs(
    run_id: UUID | str,
    *,
    include_descendants: bool = False,
    min_level: int = 0,
    loggers: Iterable[str] = (),
    logged_after: datetime | None = None,
    pattern: str | re.Pattern[str] | None = None,
    last: int | None = None,
    after_position: int = 0,
) -> Items[models.LogRecord]:
    """Iterate over log records as they arrive: existing records first, then new ones.

    The iteration ends when the run has ended and all its records have arrived. It reconnects
    automatically if the connection breaks.

    Args:
        run_id: A flow run or a task run.
        include_descendants: True to include the records of the run's descendants.
        min_level: The lowest level to include.
        loggers: The loggers to include, as for `read_logs`.
        logged_after: The earliest time to include, as for `read_logs`.
        pattern: A regular expression that must match the message, as for `read_logs`.
        last: The maximum number of matching records to read from those that exist, before all new
            ones; None for all.
        after_position: The position after which to start.

    Raises:
        ValueError: `last` is less than 1 or combined with `after_position`, or a filter is empty.
        ObjectNotFound: There is no such run.
    """
    search = LogSearch(
        min_level=min_level, loggers=loggers, logged_after=logged_after, pattern=pattern
    )
    joiner = ChunkJoiner()
    request = pb.TailLogsRequest(
        run_id=str(run_id), include_descendants=include_descendants, after_position=after_position
    )
    search.fill(request)
    if last is not None:
        if after_position:
            raise ValueError("pass either `last` or `after_position`, not both")
        first = pb.ListLogsRequest(run_id=str(run_id), include_descendants=include_descendants)
        search.fill(first)
        end = yield from _read_end(first, search, last)
        yield Give(end.records)
        joiner.resume(end.unfinished)
        request.after_position = end.position

    def receive(message: pb.TailLogsResponse) -> Iterable[models.LogRecord]:
        if message.position:
            request.after_position = message.position
        elif message.logs:  # an older service
            request.after_position = message.logs[-1].position
        return search.of(joiner.join(message.logs))

    def forget(error: ApiError) -> bool:
        had_place = bool(request.after_position)
        if had_place:
            _log.warning("reading the log again from its beginning: %s", error)
            request.after_position = 0
        return had_place

    follow_once = partial(
        follow,
        "LogService/TailLogs",
        request,
        pb.TailLogsResponse,
        receive,
        rest=lambda: search.of(joiner.rest()),
    )
    yield from begin_again(follow_once, forget)


@dataclass(slots=True)
class _End:
    """The end of a log.

    Attributes:
        records: The last records, in order.
        unfinished: The chunks of records whose last chunks had not arrived yet.
        position: The position of the newest record or chunk that was read.
    """

    records: list[models.LogRecord] = field(default_factory=list)
    unfinished: list[log_pb2.LogRecord] = field(default_factory=list)
    position: int = 0

    def unfinished_records(self) -> Iterable[models.LogRecord]:
        joiner = ChunkJoiner()
        joiner.resume(self.unfinished)
        return joiner.rest()


def _read_end(
    request: pb.ListLogsRequest, search: LogSearch, last: int
) -> Generator[Step, Any, _End]:
    """Read a log backwards until there are enough matching records."""
    if last < 1:
        raise ValueError(f"last must be at least 1, not {last}")
    least, most = _BACKWARD_PAGES
    request.order = pb.LOG_ORDER_NEWEST_FIRST
    request.page_size = request.page_size or min(max(last, least), most)
    joiner = BackwardJoiner()
    end = _End()
    while True:
        page = yield from call(_LIST, request, pb.ListLogsResponse)
        if page.order != pb.LOG_ORDER_NEWEST_FIRST:  # an older service
            return (yield from _read_whole(request, page, search, last))
        if page.logs and not end.position:
            end.position = page.logs[0].position
        end.records += search.of(joiner.join(page.logs))
        is_enough = len(end.records) >= last and not joiner.is_waiting
        if is_enough or not page.next_page_token:
            break
        request.page_token = page.next_page_token
    end.records += search.of(joiner.rest())
    end.records.sort(key=lambda record: record.position)
    end.records = end.records[-last:]
    end.unfinished = joiner.unfinished
    return end


def _read_whole(
    request: pb.ListLogsRequest, page: pb.ListLogsResponse, search: LogSearch, last: int
) -> Generator[Step, Any, _End]:
    """Read a log from its beginning and keep its end, for a service that cannot read backwards."""
    joiner = ChunkJoiner()
    records: deque[models.LogRecord] = deque(maxlen=min(last, sys.maxsize))
    end = _End()
    while True:
        if page.logs:
            end.position = page.logs[-1].position
        records.extend(search.of(joiner.join(page.logs)))
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
        page = yield from call(_LIST, request, pb.ListLogsResponse)
    end.records = list(records)
    end.unfinished = joiner.pieces()
    return end
