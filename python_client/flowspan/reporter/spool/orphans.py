"""Spools without an owner, left by processes that ended while the service was unreachable.

The next process with the same home that reaches the same service sends them in the background;
`flowspan spool push` sends them at once. The session that wrote the spool is reopened
(Hello.recovering), receives the events, and ends with a Goodbye.
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
    "its header is damaged, so the service that it belongs to is unknown; `flowspan spool push "
    "--any-address` sends it to the given address"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolInfo:
    """A spool found on disk.

    Attributes:
        path: The path of the file.
        size_bytes: The size of the file.
        session_id: The session whose events it stores; empty if unreadable.
        address: The address of its service; empty for the local service, or if unreadable.
        hostname: The host where it was written.
        process_id: The process that wrote it; 0 if unknown.
        created_at: The time of creation, in seconds since 1970 UTC.
        is_owned: True if a process is using it.
        is_damaged: True if a part of it cannot be read.
        missing_events: Number of events lost to the damage; a lower bound if the damage hides the
            exact number.
        is_set_aside: True if it is kept only for inspection: its readable part was sent.
        problem: The reason why it cannot be sent; empty if it can.
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
    """Return the spools of the home and those set aside, the oldest first.

    Reads every spool without an owner completely, to find damage.
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
    """Send the spools without an owner to the service, and delete them.

    Args:
        config: The home, and the service.
        progress: Called with the current spool's result so far, after each acknowledgement.
        any_address: True to also send spools for a service at another address.

    Returns:
        The outcome for each spool, including those that were skipped: the oldest first, unreadable
        ones last. If the connection is lost midway, the current spool's problem says so, and the
        remaining spools are skipped.

    Raises:
        FlowspanError: The service cannot be found (see `resolve_address`) or reached.
    """
    address: Address | None = None
    lost = ""
    results = []
    found = _found(config)
    # Unsendable spools come last: they are set aside only if all results are returned.
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
                lost = "the connection was lost before its turn; `flowspan spool push` retries it"
        results.append(result)
    return results


def _is_hopeless(info: SpoolInfo, *, any_address: bool) -> bool:
    return bool(info.problem) and not (any_address and info.problem == _HEADER_LOST)


def _give_up(info: SpoolInfo) -> PushResult:
    """Report that a spool cannot be sent, and set it aside if it will never be readable."""
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
        return "another process is still sending later events; `flowspan spool push` retries it"
    if any_address or info.address == (config.address or ""):
        return ""
    if info.address:
        return (
            f"it is for the service at {info.address}; `flowspan --address {info.address} spool "
            "push` sends it there, and --any-address to the given address"
        )
    return (
        "it is for the local service; `flowspan spool push` without an address sends it there, and "
        "--any-address to the given address"
    )


def _is_too_soon(info: SpoolInfo, config: Config) -> bool:
    """Return True if starts must wait because another process is sending the events after them.

    Sent earlier, the runs would be marked Crashed for a while, although they have ended.
    """
    who = info.process_id, info.hostname
    return _has_starts(info.path) and any(
        other.is_owned and (other.process_id, other.hostname) == who for other in _found(config)
    )


def _in_use(process_id: int) -> str:
    who = f"process {process_id}" if process_id else "a process"
    return f"{who} is using it, and will send it"


def adopt_spools(config: Config, address: Address) -> None:
    """Send the spools of other processes in the background; failed ones wait for the next try."""
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
            "the spool %s, which an earlier process left, could not be sent completely: %s. %d "
            "events were sent. It is kept as %s",
            *(result.path, result.problem, result.events, result.damaged_path),
        )
    elif not result.left:
        logger.warning("the spool %s was not sent: %s", result.path, result.problem)


def _ignore(result: PushResult) -> None:
    del result


def _found(config: Config) -> list[SpoolInfo]:
    """Return the spools of the home, the oldest first, from their headers alone.

    Starts of runs come last: most are also in other spools, together with later events. Starts of
    a live process are skipped.
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
    """Return the paths of spools with a suffix, and the reason if the folder is unreadable."""
    folder = spool_folder(config.home)
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return [], ""
    except OSError as error:
        if not os.path.lexists(folder):  # the home is not a folder, so it has no spools
            return [], ""
        return [], f"the spool folder cannot be read ({error.strerror or error})"
    return [folder / name for name in names if name.endswith(suffix)], ""


def _look_at(path: Path) -> SpoolInfo | None:
    """Read a spool's header; return None if the file is gone."""
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
        if owned:  # only its owner needs to read it
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
    """Read a spool completely, to find damage and missing events."""
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
    """Send a spool to the service; skip it if it has an owner by now, or is gone.

    Raises:
        FlowspanError: The service is unreachable.
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
        # The other spools, and the flow that runs beside this, must not be affected.
        logger.debug("the spool %s could not be sent", path, exc_info=True)
        result.problem = f"it could not be sent: {error!r}"
    finally:
        if spool is not None:
            spool.close()
    return result
