"""Filtering of log records: the part that the service does, and the part done in the client."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowspan.api import convert
from flowspan.core.limits import MAX_FILTER_TEXT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from flowspan.api.models import LogRecord

_SPECIAL = frozenset(".^$*+?{}[]|()")


class LogSearch:
    """The filters of a request for log records.

    The service applies the filters that it can, so that little is transferred. The client
    applies all filters again, because an older service does not know every filter, and a
    pattern can be searched only in complete records.
    """

    def __init__(
        self,
        *,
        min_level: int,
        loggers: Iterable[str],
        logged_after: datetime | None,
        pattern: str | re.Pattern[str] | None,
    ) -> None:
        """Create a search; the arguments are those of `read_logs`.

        Raises:
            ValueError: A logger's name or the pattern is empty, or the time has no time zone.
            re.error: The pattern is not a valid regular expression.
        """
        self._min_level = min_level
        self._loggers = tuple(convert.wire_optional(name, "loggers") for name in loggers)
        self._logged_after = convert.wire_time(logged_after, "logged_after")
        self._pattern = re.compile(pattern) if isinstance(pattern, str) else pattern
        if self._pattern is not None and not self._pattern.pattern:
            raise ValueError("pattern is empty. Omit it or pass None for no filter")
        self._checks = list(self._make_checks())

    def fill(self, request: Any) -> None:
        """Write the filters that the service supports into a request of LogService."""
        request.min_level = convert.wire_level(self._min_level)
        request.loggers.extend(self._loggers)
        if self._logged_after is not None:
            request.logged_after.FromDatetime(self._logged_after)
        if self._pattern is not None:
            request.message_contains = literal_text(self._pattern)

    def of(self, records: Iterable[LogRecord]) -> Iterator[LogRecord]:
        """Return the records that match."""
        if not self._checks:
            return iter(records)
        return (record for record in records if all(fits(record) for fits in self._checks))

    def _make_checks(self) -> Iterator[Callable[[LogRecord], bool]]:
        if self._loggers:
            starts = tuple(f"{name}." for name in self._loggers)
            yield lambda record: f"{record.logger}.".startswith(starts)
        since = self._logged_after
        if since is not None:
            yield lambda record: record.logged_at is not None and record.logged_at >= since
        pattern = self._pattern
        if pattern is not None:
            yield lambda record: pattern.search(record.message) is not None


def literal_text(pattern: re.Pattern[str]) -> str:
    """Return the only text that the pattern matches; empty if it is not a literal."""
    if pattern.flags != re.UNICODE:  # a flag such as IGNORECASE is set
        return ""
    text = ""
    characters = iter(pattern.pattern)
    for character in characters:
        if character in _SPECIAL:
            return ""
        if character == "\\":
            escaped = next(characters, "")
            if not escaped or escaped.isalnum() or not escaped.isascii():
                return ""
            text += escaped
        else:
            text += character
    is_allowed = "\0" not in text and len(text.encode(errors="replace")) <= MAX_FILTER_TEXT_BYTES
    return text if is_allowed and text.isprintable() else ""
