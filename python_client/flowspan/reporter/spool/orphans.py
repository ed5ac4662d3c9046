"""Spools without an owner: what processes left behind that ended while the service was away.

The next process of the same home that reaches the same service takes them over, in the background;
`flowspan spool push` does so at once. The session that made the spool is opened again
(Hello.recovering), gets its events, and ends with a Goodbye.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan.connection.resolve import resolve_address
from flowspan.exceptions import FlowspanError
from flowspan.reporter.spool.drain import Drain, PushResult
from flowspan.reporter.spool.file import (
    DAMAGED_SUFFIX,
    STARTS_SUFFIX,
    SUFFIX,
    SpoolFile,
    is_owned,
    look_into,
    set_aside,
)
from flowspan.reporter.spool.format import Damage, Losses, SpoolFormatError
from flowspan.reporter.spool.spool import spool_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowspan.config import Config
    from flowspan.connection.address import Address

logger = logging.getLogger("flowspan.reporter")

_HEADER_LOST = (
    "its header is damaged, so the service that it is for is not known; `flowspan spool push "
    "--any-address` sends it to the one given"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolInfo:
    """A spool, as it is found.

    Attributes:
        path: Where it is.
        size_bytes: How large it is.
        session_id: The session whose events it keeps; empty where it cannot be read.
        address: The address of the service that it is for; empty for the local service, or where
            it cannot be read.
        hostname: Where it was made.
        process_id: The process that made it; 0 where that is not known.
        created_at: When, in seconds since 1970 UTC.
        is_owned: Whether a process uses it.
        is_damaged: Whether something in it cannot be read.
        missing_events: How many events are missing in it for that; at least, where the damage hides
            how many.
        is_set_aside: Whether it is kept only to be looked at: what could be read of it was sent.
        problem: Why it cannot be sent as it is; empty if it can.
    """

    path: Path
    size_bytes: int
    session_id: str = ""
    address: str = ""
    hostname: str = ""
    process_id: int = 0
    created_at: float = 0.0
    is_owned: bool = False
    is_damaged: bool = False
    missing_events: int = 0
    is_set_aside: bool = False
    problem: str = ""


def list_spools(config: Config) -> list[SpoolInfo]:
    """The spools of the home, the oldest first, and those that were set aside.

    Each that no process uses is read as a whole, to tell whether it is damaged.
    """
    infos = _found(config) + [_set_aside_info(path) for path in _paths(config, DAMAGED_SUFFIX)[0]]
    return sorted(
        (_examined(info) for info in infos), key=lambda info: (info.created_at, info.path)
    )


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
        What became of each spool, also of those that were left, the oldest first, and those that
        cannot be read last. When the service is lost on the way, that is the problem of the spool
        at hand, and the others are left.

    Raises:
        FlowspanError: The service cannot be found (see `resolve_address`) or reached.
    """
    address: Address | None = None
    lost = ""
    results = []
    found = _found(config)
    # What cannot be sent comes last: it is set aside only when all results are returned.
    for info in sorted(found, key=lambda info: _is_hopeless(info, any_address=any_address)):
        left = lost or _reason_to_leave(info, config, any_address=any_address)
        if _is_hopeless(info, any_address=any_address):
            result = _give_up(info)
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


def _is_hopeless(info: SpoolInfo, *, any_address: bool) -> bool:
    return bool(info.problem) and not (any_address and info.problem == _HEADER_LOST)


def _give_up(info: SpoolInfo) -> PushResult:
    """Say that a spool cannot be sent, and set it aside if nothing ever will be read of it."""
    result = PushResult(path=info.path, session_id=info.session_id, problem=info.problem)
    if info.is_damaged and not info.session_id:
        try:
            result.damaged_path = set_aside(info.path)
        except OSError as error:
            result.problem += f"; and it cannot be renamed ({error.strerror or error})"
    return result


def _reason_to_leave(info: SpoolInfo, config: Config, *, any_address: bool) -> str:
    if info.is_owned:
        return _in_use(info.process_id)
    if _is_too_soon(info, config):
        return "another process is sending what followed it; `flowspan spool push` tries it again"
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


def _is_too_soon(info: SpoolInfo, config: Config) -> bool:
    """Whether starts have to wait: another process is sending what followed them.

    Sent before that, the runs would be called Crashed for a while, though they have ended.
    """
    who = info.process_id, info.hostname
    return _has_starts(info.path) and any(
        other.is_owned and (other.process_id, other.hostname) == who for other in _found(config)
    )


def _in_use(process_id: int) -> str:
    who = f"process {process_id}" if process_id else "a process"
    return f"{who} still uses it, and sends it itself"


def adopt_spools(config: Config, address: Address) -> None:
    """Brings what others left to the service, in the background: failures are for the next time."""
    for info in _found(config):
        if info.path == spool_folder(config.home):
            logger.info("%s: %s", info.path, info.problem)
            continue
        if info.problem:
            _say(_give_up(info))
            continue
        if info.is_owned or info.address != (config.address or "") or _is_too_soon(info, config):
            continue
        try:
            result = _push(info.path, address, _ignore)
        except FlowspanError as error:
            logger.info("the spool %s was not sent: %s", info.path, error)
            return
        _say(result)


def _say(result: PushResult) -> None:
    if result.is_done:
        logger.info("sent %d events that an earlier process left", result.events)
    elif result.damaged_path is not None:
        logger.error(
            "the spool %s, which an earlier process left, could not be sent as a whole: %s. %d "
            "events were sent. It is kept as %s",
            *(result.path, result.problem, result.events, result.damaged_path),
        )
    elif not result.left:
        logger.warning("the spool %s was not sent: %s", result.path, result.problem)


def _ignore(result: PushResult) -> None:
    del result


def _found(config: Config) -> list[SpoolInfo]:
    """The spools of the home, the oldest first, by their headers alone.

    Starts of runs come last: most of them are in other spools as well, with what followed. Those of
    a process that lives are nobody's business.
    """
    paths, problem = _paths(config, SUFFIX)
    looks = (info for path in paths if (info := _look_at(path)) is not None)
    infos = [info for info in looks if not (info.is_owned and _has_starts(info.path))]
    if problem:
        infos.append(SpoolInfo(path=spool_folder(config.home), size_bytes=0, problem=problem))
    return sorted(infos, key=_age)


def _age(info: SpoolInfo) -> tuple[bool, float, Path]:
    return _has_starts(info.path), info.created_at, info.path


def _has_starts(path: Path) -> bool:
    return path.name.endswith(STARTS_SUFFIX)


def _paths(config: Config, suffix: str) -> tuple[list[Path], str]:
    """The paths in the folder of spools with a suffix; and why it cannot be read, if so."""
    folder = spool_folder(config.home)
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return [], ""
    except OSError as error:
        if not os.path.lexists(folder):  # the home is no folder: nothing was ever kept there
            return [], ""
        return [], f"the folder of spools cannot be read ({error.strerror or error})"
    return [folder / name for name in names if name.endswith(suffix)], ""


def _look_at(path: Path) -> SpoolInfo | None:
    """Read a spool's header; None if it is gone."""
    size, owned = 0, False
    try:
        found = path.lstat()
        size = found.st_size if stat.S_ISREG(found.st_mode) else 0
        owned = is_owned(path)
        opening, _ = look_into(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = f"it cannot be read ({error.strerror or error})"
        return SpoolInfo(path=path, size_bytes=size, problem=reason)
    except SpoolFormatError as error:
        if owned:  # its owner need not read it
            return SpoolInfo(path=path, size_bytes=size, is_owned=True)
        is_damaged = not error.is_foreign
        return SpoolInfo(path=path, size_bytes=size, is_damaged=is_damaged, problem=str(error))
    header = opening.header
    process_id = header.client.get("process_id", "")
    return SpoolInfo(
        path=path,
        size_bytes=size,
        session_id=header.session_id,
        address=header.address or "",
        hostname=header.client.get("hostname", ""),
        process_id=int(process_id or 0),
        created_at=header.created_at,
        is_owned=owned,
        is_damaged=not opening.is_whole,
        problem=_HEADER_LOST if header.address is None and not owned else "",
    )


def _examined(info: SpoolInfo) -> SpoolInfo:
    """Read a spool as a whole: what is missing in it?"""
    if info.is_owned or not info.session_id:
        return info
    try:
        opening, entries = look_into(info.path)
        losses = Losses(opening.header.first_sequence)
        is_damaged = info.is_damaged
        for entry in entries:
            if isinstance(entry, Damage):
                is_damaged = True
                losses.damage(entry)
            else:
                losses.record(entry[0])
        losses.end()
    except (OSError, SpoolFormatError) as error:
        return dataclasses.replace(info, problem=info.problem or str(error))
    return dataclasses.replace(
        info,
        is_damaged=is_damaged or losses.events > 0,
        missing_events=losses.events,
    )


def _set_aside_info(path: Path) -> SpoolInfo:
    return dataclasses.replace(
        _look_at(path) or SpoolInfo(path=path, size_bytes=0), is_set_aside=True, is_damaged=True
    )


def _push(path: Path, address: Address, progress: Callable[[PushResult], None]) -> PushResult:
    """Brings a spool to the service; leaves it if it has an owner by now, or is gone.

    Raises:
        FlowspanError: The service is not reached.
    """
    result = PushResult(path=path)
    spool = None
    try:
        spool = SpoolFile.adopt(path)
        if spool is None:
            result.left = _in_use(0) if path.exists() else "another process has just sent it"
            return result
        result.session_id = spool.header.session_id
        Drain(spool, address, result, progress).run()
    except FlowspanError:
        raise
    except (OSError, SpoolFormatError) as error:
        result.problem = f"it cannot be read ({getattr(error, 'strerror', None) or error})"
    except Exception as error:
        # Whatever it is: the other spools, and the flow beside which this runs, have no part in it.
        logger.debug("the spool %s could not be sent", path, exc_info=True)
        result.problem = f"it could not be sent: {error!r}"
    finally:
        if spool is not None:
            spool.close()
    return result
