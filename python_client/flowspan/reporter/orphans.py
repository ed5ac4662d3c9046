"""Spools without an owner: what processes left behind that ended while the service was away.

The next process of the same home that reaches the same service takes them over, in the background;
`flowspan spool push` does so at once. The session that made the spool is opened again
(Hello.recovering), gets its events, and ends with a Goodbye.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.connection.address import explain
from flowspan.connection.resolve import resolve_address
from flowspan.exceptions import FlowspanError, ServiceUnavailableError
from flowspan.reporter.connector import SessionRefusedError, explain_refusal
from flowspan.reporter.intake import MAX_BATCH_EVENTS
from flowspan.reporter.link import LinkClosedError
from flowspan.reporter.placeholders import placeholder_batch, without_event
from flowspan.reporter.session import open_session, read_response
from flowspan.reporter.spool import spool_folder
from flowspan.reporter.spool_file import (
    SUFFIX,
    SpoolFile,
    SpoolFormatError,
    is_owned,
    read_header,
)
from flowspan.reporter.wire import GOODBYE_FRAME, batch_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flowspan.config import Config
    from flowspan.connection.address import Address
    from flowspan.reporter.link import Link
    from flowspan.reporter.session import WelcomeInfo

logger = logging.getLogger("flowspan.reporter")

_MAX_SENT_BYTES = 4 << 20
_ANSWER_TIMEOUT_S = 20.0
_GOODBYE_TIMEOUT_S = 5.0
_MAX_REFUSALS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolInfo:
    """A spool, as it is found.

    Attributes:
        path: Where it is.
        size_bytes: How large it is.
        session_id: The session whose events it keeps; empty where it cannot be read.
        address: The address of the service that it is for; empty for the local service.
        hostname: Where it was made.
        process_id: The process that made it; 0 where that is not known.
        created_at: When, in seconds since 1970 UTC.
        is_owned: Whether a process uses it.
        problem: Why it cannot be read; empty if it can.
    """

    path: Path
    size_bytes: int
    session_id: str = ""
    address: str = ""
    hostname: str = ""
    process_id: int = 0
    created_at: float = 0.0
    is_owned: bool = False
    problem: str = ""


@dataclass(slots=True, kw_only=True)
class PushResult:
    """What became of a spool.

    Attributes:
        path: Where it is, or was.
        session_id: The session.
        events: How many events the service has taken from it now.
        is_done: Whether the service has all of it, and the file is gone.
        problem: Why not, if it was tried; else empty.
        left: Why it was left as it is, and what sends it; empty if it was tried.
    """

    path: Path
    session_id: str = ""
    events: int = 0
    is_done: bool = False
    problem: str = ""
    left: str = ""


def list_spools(config: Config) -> list[SpoolInfo]:
    """The spools of the home, the oldest first."""
    infos = [info for path in _paths(config) if (info := _look_at(path)) is not None]
    return sorted(infos, key=lambda info: (info.created_at, info.path))


def push_spools(
    config: Config,
    progress: Callable[[PushResult], None] | None = None,
    *,
    any_address: bool = False,
) -> list[PushResult]:
    """Brings the spools that no process uses to the service, and deletes them.

    Args:
        config: The home, and the service.
        progress: Called as it goes on, with the result so far of the spool at hand.
        any_address: Whether to bring spools, too, that were meant for a service at another address.

    Returns:
        What became of each spool, also of those that were left, in the order of `list_spools`. When
        the service is lost on the way, that is the problem of the spool at hand, and the others are
        left.

    Raises:
        FlowspanError: The service cannot be found (see `resolve_address`) or reached.
    """
    spools = list_spools(config)
    address: Address | None = None
    lost = ""
    results = []
    for info in spools:
        left = lost or _reason_to_leave(info, config, any_address=any_address)
        if info.problem:
            result = PushResult(path=info.path, problem=info.problem)
        elif left:
            result = PushResult(path=info.path, session_id=info.session_id, left=left)
        else:
            is_first = address is None
            if address is None:
                address = resolve_address(config)
            try:
                result = _push(info.path, address, progress or _ignore)
            except FlowspanError as error:
                if is_first:
                    raise
                result = PushResult(path=info.path, session_id=info.session_id, problem=str(error))
                lost = "the service was lost before it; `flowspan spool push` tries it again"
        results.append(result)
    return results


def _reason_to_leave(info: SpoolInfo, config: Config, *, any_address: bool) -> str:
    if info.is_owned:
        return _in_use(info.process_id)
    if any_address or info.address == (config.address or ""):
        return ""
    if info.address:
        return (
            f"it is for the service at {info.address}; `flowspan --address {info.address} spool "
            "push` sends it there, and --any-address to the one given"
        )
    return (
        "it is for the local service; `flowspan spool push` without an address sends it there, and "
        "--any-address to the one given"
    )


def _in_use(process_id: int) -> str:
    who = f"process {process_id}" if process_id else "a process"
    return f"{who} still uses it, and sends it itself"


def adopt_spools(config: Config, address: Address) -> None:
    """Brings what others left to the service, in the background: failures are for the next time."""
    for info in list_spools(config):
        if info.is_owned or info.problem or info.address != (config.address or ""):
            continue
        try:
            result = _push(info.path, address, _ignore)
        except FlowspanError as error:
            logger.info("the spool %s was not sent: %s", info.path, error)
            return
        if result.is_done:
            logger.info("sent %d events that an earlier process left", result.events)
        elif not result.left:
            logger.warning("the spool %s was not sent: %s", info.path, result.problem)


def _ignore(result: PushResult) -> None:
    del result


def _paths(config: Config) -> Iterator[Path]:
    try:
        yield from sorted(spool_folder(config.home).glob(f"*{SUFFIX}"))
    except OSError:
        return


def _look_at(path: Path) -> SpoolInfo | None:
    try:
        size = path.stat().st_size
        owned = is_owned(path)
        header = read_header(path)
    except FileNotFoundError:
        return None
    except (OSError, SpoolFormatError) as error:
        return SpoolInfo(path=path, size_bytes=0, problem=str(error))
    process_id = header.client.get("process_id", "")
    return SpoolInfo(
        path=path,
        size_bytes=size,
        session_id=header.session_id,
        address=header.address,
        hostname=header.client.get("hostname", ""),
        process_id=int(process_id) if process_id.isdigit() else 0,
        created_at=header.created_at,
        is_owned=owned,
    )


def _push(path: Path, address: Address, progress: Callable[[PushResult], None]) -> PushResult:
    """Brings a spool to the service; leaves it if it has an owner by now, or is gone.

    Raises:
        FlowspanError: The service is not reached.
    """
    result = PushResult(path=path)
    try:
        spool = SpoolFile.adopt(path)
    except (OSError, SpoolFormatError) as error:
        result.problem = str(error)
        return result
    if spool is None:
        result.left = _in_use(0) if path.exists() else "another process has just sent it"
        return result
    try:
        result.session_id = spool.header.session_id
        _Push(spool, address, result, progress).run()
        if result.is_done:
            spool.delete()
    finally:
        spool.close()
    return result


class _Push:
    """One spool on its way."""

    def __init__(
        self,
        spool: SpoolFile,
        address: Address,
        result: PushResult,
        progress: Callable[[PushResult], None],
    ) -> None:
        self._spool = spool
        self._address = address
        self._result = result
        self._progress = progress
        self._refused: set[int] = set()
        self._acked = 0
        self._sent = 0

    def run(self) -> None:
        """Sends all; begins again without an event that the service refuses to read."""
        while True:
            try:
                link, welcome = open_session(
                    self._address,
                    self._spool.header.session_id,
                    self._spool.header.client,
                    secret=self._spool.header.secret,
                    recovering=True,
                )
            except LinkClosedError as error:
                refusal = explain_refusal(self._address, error)
                if isinstance(refusal, SessionRefusedError):  # the next spool may be taken
                    self._result.problem = str(refusal)
                    return
                raise refusal from error
            except OSError as error:
                raise ServiceUnavailableError(explain(self._address, error)) from error
            try:
                self._send_all(link, welcome)
                self._result.is_done = True
                return
            except LinkClosedError as error:
                if error.sequence is None or len(self._refused) >= _MAX_REFUSALS:
                    self._result.problem = str(error)
                    return
                logger.error("the service refused an event of %s: %s", self._spool.path, error)
                self._refused.add(error.sequence)
            finally:
                link.close()

    def _send_all(self, link: Link, welcome: WelcomeInfo) -> None:
        self._acked = self._sent = welcome.resume_after
        in_flight = 0
        for first, count, data in self._batches():
            if first + count - 1 <= self._sent:
                continue
            link.send(batch_frame(data))
            self._sent = first + count - 1
            in_flight += len(data)
            while self._acked < self._sent and (
                in_flight >= _MAX_SENT_BYTES
                or self._sent - self._acked + MAX_BATCH_EVENTS > welcome.max_unacked_events
            ):
                self._read(link)
                if self._acked >= self._sent:
                    in_flight = 0
        while self._acked < self._sent:
            self._read(link)
        link.send(GOODBYE_FRAME)
        link.half_close()
        deadline = clock.monotonic() + _GOODBYE_TIMEOUT_S
        try:
            while clock.monotonic() < deadline:
                link.wait(_GOODBYE_TIMEOUT_S)
        except LinkClosedError as error:
            if error.status != "OK":
                raise

    def _batches(self) -> Iterator[tuple[int, int, bytes]]:
        """The batches, with placeholders where something is missing or was refused."""
        following = self._acked + 1
        for record, batch in self._spool.records():
            data = batch
            for sequence in self._refused:
                if record.first <= sequence < record.first + record.events:
                    data = without_event(data, sequence) or data
            while following < record.first:
                size = min(MAX_BATCH_EVENTS, record.first - following)
                yield following, size, placeholder_batch(following, size)
                following += size
            yield record.first, record.events, data
            following = max(following, record.first + record.events)

    def _read(self, link: Link) -> None:
        messages = link.wait(_ANSWER_TIMEOUT_S)
        if not messages:
            raise LinkClosedError("DEADLINE_EXCEEDED", f"no ack within {_ANSWER_TIMEOUT_S:g} s")
        for message in messages:
            response = read_response(message)
            if response.WhichOneof("frame") == "ack" and response.ack.up_to_sequence > self._acked:
                self._result.events += response.ack.up_to_sequence - self._acked
                self._acked = response.ack.up_to_sequence
                self._progress(self._result)
