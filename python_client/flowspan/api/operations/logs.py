"""What can be asked about the logs of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api import convert
from flowspan.api.chunks import ChunkJoiner
from flowspan.api.steps import follow, pages
from flowspan.v1 import log_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from flowspan.api import models
    from flowspan.api.steps import Items


def read_logs(
    run_id: UUID | str,
    *,
    include_descendants: bool = False,
    min_level: int = 0,
    limit: int | None = None,
    page_size: int = 0,
) -> Items[models.LogRecord]:
    """Log records in the order in which they arrived, the pieces of long ones joined.

    Args:
        run_id: A flow run or a task run.
        include_descendants: Whether the records of the runs that it called are wanted too.
        min_level: Only records as grave as this, or graver; see LogLevel.
        limit: How many at most; None is all of them.
        page_size: How many are fetched at a time, 1 to 10,000; 0 leaves it to the service.

    Raises:
        ObjectNotFound: There is no such run.
    """
    joiner = ChunkJoiner()
    request = pb.ListLogsRequest(
        run_id=str(run_id),
        include_descendants=include_descendants,
        min_level=convert.wire_level(min_level),
        page_size=page_size,
    )
    yield from pages(
        "LogService/ListLogs",
        request,
        pb.ListLogsResponse,
        lambda page: joiner.join(page.logs),
        limit=limit,
        rest=joiner.rest,
    )


def tail_logs(
    run_id: UUID | str,
    *,
    include_descendants: bool = False,
    min_level: int = 0,
    after_position: int = 0,
) -> Items[models.LogRecord]:
    """Log records as they arrive: first those that are there, then the new ones.

    Ends when the run has ended and all that it logged has come. Goes on by itself after a broken
    connection.

    Args:
        run_id: A flow run or a task run.
        include_descendants: Whether the records of the runs that it called are wanted too.
        min_level: Only records as grave as this, or graver; see LogLevel.
        after_position: Only records after this position.

    Raises:
        ObjectNotFound: There is no such run.
    """
    joiner = ChunkJoiner()
    request = pb.TailLogsRequest(
        run_id=str(run_id),
        include_descendants=include_descendants,
        min_level=convert.wire_level(min_level),
        after_position=after_position,
    )

    def receive(message: pb.TailLogsResponse) -> Iterable[models.LogRecord]:
        if message.logs:
            request.after_position = message.logs[-1].position
        return joiner.join(message.logs)

    yield from follow(
        "LogService/TailLogs", request, pb.TailLogsResponse, receive, rest=joiner.rest
    )
