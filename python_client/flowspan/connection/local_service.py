"""Discovery and start of the local service.

The service writes ``<home>/service.json`` when it is ready. A file whose addresses do not answer is
stale and ignored. If several processes want to start the service, the holder of the lock of
``<home>/start.lock`` starts it; the others wait until they find it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from flowspan import clock
from flowspan.connection.access import Access
from flowspan.connection.address import is_reachable, parse_address
from flowspan.connection.service_environment import service_environment, without_debugger
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
    """Return the file published by the home's service, alive or not; None if missing."""
    try:
        info = json.loads((home / "service.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return info if isinstance(info, dict) else None


def find_local_service(home: Path) -> Address | None:
    """Return the first address of the home's service that accepts connections."""
    _reap()
    info = published(home) or {}
    addresses = info.get("addresses")
    for text in addresses if isinstance(addresses, list) else ():
        try:
            address = parse_address(str(text), source=str(home / "service.json"), home=home)
        except ConfigError:
            continue
        if is_reachable(address):
            is_over_tls = bool(info.get("tls")) and not address.path
            return replace(address, access=Access(uses_tls=True)) if is_over_tls else address
    return None


def ensure_local_service(config: Config) -> Address:
    """Return the address of the home's service; start the service if it is not running.

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
    """Start the service, or wait for the process that is starting it."""
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
        f"another process is starting the local service, but was not done after "
        f"{START_TIMEOUT_S:g} s. See {config.home / 'service.log'}."
    )


def _start(config: Config) -> Address:
    log_path = config.home / "service.log"
    with os.fdopen(open_file(log_path, os.O_WRONLY | os.O_APPEND), "ab") as log:
        offset = log.tell()
        process = _spawn(config, log)
    deadline = clock.monotonic() + START_TIMEOUT_S
    while clock.monotonic() < deadline:
        address = find_local_service(config.home)
        if address is not None:
            # It outlives this process; the Popen object would warn about a running child.
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


def _spawn(config: Config, log: BinaryIO) -> subprocess.Popen[bytes]:
    """Start the process of the service, in its home and a session of its own."""
    with without_debugger():
        return subprocess.Popen(  # noqa: S603 - the own interpreter and module
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
            env=service_environment(os.environ),
        )


def _reap() -> None:
    """Reap ended services that this process started, so that they do not stay as zombies."""
    for process_id in list(_children):
        try:
            has_ended = os.waitpid(process_id, os.WNOHANG)[0] == process_id
        except ChildProcessError:  # reaped elsewhere, or a child of this fork's parent
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
    """Close the parent's locks in a forked child, which would hold them as well."""
    for lock in _open_locks:
        with contextlib.suppress(OSError):
            os.close(lock)
    _open_locks.clear()


os.register_at_fork(after_in_child=_forget_locks)
