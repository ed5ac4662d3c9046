"""The local service: finding it by what it published, and starting it when there is none.

The service writes ``<home>/service.json`` when it is ready. A file that nobody answers behind is
stale and ignored. Of processes that want to start it at once, one does, for it holds the lock of
``<home>/start.lock``; the others wait and find it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from flowspan import clock
from flowspan.connection.address import is_reachable, parse_address
from flowspan.exceptions import ConfigError, LocalServiceError
from flowspan.private_files import open_file, own_home

if TYPE_CHECKING:
    from pathlib import Path

    from flowspan.config import Config
    from flowspan.connection.address import Address

START_TIMEOUT_S = 15.0
_POLL_S = 0.02
_LOG_LINES = 12

_open_locks: set[int] = set()
_children: set[int] = set()


def published(home: Path) -> dict[str, Any] | None:
    """What the service of the home published of itself, alive or not; None if nothing is there."""
    try:
        info = json.loads((home / "service.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return info if isinstance(info, dict) else None


def find_local_service(home: Path) -> Address | None:
    """The address of the home's service, if it accepts connections; the first that does."""
    _reap()
    addresses = (published(home) or {}).get("addresses")
    for text in addresses if isinstance(addresses, list) else ():
        try:
            address = parse_address(str(text), source=str(home / "service.json"), home=home)
        except ConfigError:
            continue
        if is_reachable(address):
            return address
    return None


def ensure_local_service(config: Config) -> Address:
    """The address of the home's service, which is started if it is not running.

    Raises:
        LocalServiceError: It did not start; the message has the end of its log.
    """
    found = find_local_service(config.home)
    if found is not None:
        return found
    try:
        own_home(config.home)
        return _start_or_wait(config)
    except OSError as error:
        raise LocalServiceError(
            f"the local service cannot be started: {error}. Its home is {config.home}: make it "
            "writable, set FLOWSPAN_HOME to another folder, or set FLOWSPAN_ADDRESS to a running "
            "service."
        ) from error


def _start_or_wait(config: Config) -> Address:
    """Starts the service, or waits for the process that does."""
    path = config.home / "start.lock"
    deadline = clock.monotonic() + START_TIMEOUT_S + 1
    lock = open_file(path, os.O_RDWR)
    _open_locks.add(lock)
    try:
        while clock.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found = find_local_service(config.home)
                if found is not None:
                    return found
                clock.sleep(_POLL_S)
            else:
                return find_local_service(config.home) or _start(config)
    finally:
        _open_locks.discard(lock)
        os.close(lock)
    raise LocalServiceError(
        f"another process is starting the local service, and was not done after "
        f"{START_TIMEOUT_S:g} s. See {config.home / 'service.log'}."
    )


def _start(config: Config) -> Address:
    log_path = config.home / "service.log"
    with os.fdopen(open_file(log_path, os.O_WRONLY | os.O_APPEND), "ab") as log:
        offset = log.tell()
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [
                *(sys.executable, "-m", "flowspan_service", "--embedded", "--no-tcp"),
                *("--home", str(config.home)),
                *("--idle-timeout", f"{config.local_idle_timeout_s:g}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            close_fds=True,
            start_new_session=True,
            cwd=config.home,
        )
    deadline = clock.monotonic() + START_TIMEOUT_S
    while clock.monotonic() < deadline:
        address = find_local_service(config.home)
        if address is not None:
            # It outlives this process; its object would warn that it was left running.
            process.returncode = 0
            _children.add(process.pid)
            return address
        code = process.poll()
        if code is not None:
            raise LocalServiceError(_failure(f"ended at once (code {code})", log_path, offset))
        clock.sleep(_POLL_S)
    process.kill()
    process.wait()
    raise LocalServiceError(
        _failure(f"was not ready after {START_TIMEOUT_S:g} s", log_path, offset)
    )


def _reap() -> None:
    """Collects services that this process started and that ended: they would stay as zombies."""
    for process_id in list(_children):
        try:
            has_ended = os.waitpid(process_id, os.WNOHANG)[0] == process_id
        except ChildProcessError:  # somebody else did, or it is the child of the parent of a fork
            has_ended = True
        if has_ended:
            _children.discard(process_id)


def _failure(what: str, log_path: Path, offset: int) -> str:
    try:
        with log_path.open("rb") as log:
            log.seek(offset)
            lines = log.read().decode(errors="replace").splitlines()[-_LOG_LINES:]
    except OSError as error:
        lines = [f"(unreadable: {error})"]
    tail = "\n".join(f"    {line}" for line in lines) or "    (empty)"
    return (
        f"the local service {what}. The end of its log, {log_path}:\n{tail}\n"
        "Try `flowspan server start` to see it start, set FLOWSPAN_HOME to another folder, or set "
        "FLOWSPAN_ADDRESS to a running service."
    )


def _forget_locks() -> None:
    """In a forked child: closes the parent's locks, which would be held by the child, too."""
    for lock in _open_locks:
        with contextlib.suppress(OSError):
            os.close(lock)
    _open_locks.clear()


os.register_at_fork(after_in_child=_forget_locks)
