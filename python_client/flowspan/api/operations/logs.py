"""What can be asked about the logs of runs."""

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
    """Log records in the order in which they arrived, the pieces of long ones joined.

    Filters may be combined; a record must meet all of them.

    Args:
        run_id: A flow run or a task run.
        include_descendants: Whether the records of the runs that it called are wanted too.
        min_level: Only records as grave as this, or graver; see LogLevel.
        loggers: Only records of one of these loggers, or of a logger below it: "app" stands for
            "app.db", too.
        logged_after: Only records logged at this time or later, by the clock of the process that
            logged them; an aware datetime.
        pattern: Only records with a match of this regular expression in their message. The service
            looks for a plain text; other patterns are matched here.
        last: Only the last so many of the records that meet the filters; None is all of them. They
            are read from the end, so that a long log costs no more than a short one.
        limit: How many at most, from the first on; None is all of them.
        page_size: How many are fetched at a time, 1 to 10,000; 0 leaves it to the service.

    Raises:
        ValueError: `last` is less than 1 or given together with `limit`, or a filter is empty.
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
            raise ValueError("give `last` or `limit`, not both")
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
    """Log records as they arrive: first those that are there, then the new ones.

    Ends when the run has ended and all that it logged has come. Goes on by itself after a broken
    connection.

    Args:
        run_id: A flow run or a task run.
        include_descendants: Whether the records of the runs that it called are wanted too.
        min_level: Only records as grave as this, or graver.
        loggers: As for `read_logs`, like the next two.
        logged_after: Only records logged at this time or later.
        pattern: Only records with a match of this regular expression in their message.
        last: Of the records that are there, only the last so many that meet the filters, and then
            all new ones; None begins with all that are there.
        after_position: Only records after this position.

    Raises:
        ValueError: `last` is less than 1 or given together with `after_position`, or a filter is
            empty.
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
            raise ValueError("give `last` or `after_position`, not both")
        first = pb.ListLogsRequest(run_id=str(run_id), include_descendants=include_descendants)
        search.fill(first)
        end = yield from _read_end(first, search, last)
        yield Give(end.records)
        joiner.resume(end.unfinished)
        request.after_position = end.position

    def receive(message: pb.TailLogsResponse) -> Iterable[models.LogRecord]:
        if message.logs:
            request.after_position = message.logs[-1].position
        return search.of(joiner.join(message.logs))

    def forget(error: ApiError) -> bool:
        had_place = bool(request.after_position)
        if had_place:
            _log.warning("the log is read again from its beginning: %s", error)
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
        unfinished: The pieces of long records whose last pieces were not there yet.
        position: The position of the newest record or piece that was read.
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
    """Read a log from its end until there are enough records that fit."""
    if last < 1:
        raise ValueError(f"last is to be 1 or more, not {last}")
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
    """Read a log from its beginning, and keep its end."""
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
