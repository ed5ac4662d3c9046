"""Checks of the addresses to listen on."""

from __future__ import annotations

import os
import socket
import tempfile
from typing import TYPE_CHECKING

import pytest

from flowspan_service.process.errors import EXIT_ADDRESS, ListenError
from flowspan_service.process.sockets import (
    MAX_SOCKET_PATH_BYTES,
    check_port,
    is_answered,
    is_loopback,
    owner_only,
    short_socket_path,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_port_in_use_is_explained() -> None:
    check_port("127.0.0.1", 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        with pytest.raises(ListenError, match=r"is in use.*--port") as caught:
            check_port("127.0.0.1", taken.getsockname()[1])
    assert caught.value.exit_code == EXIT_ADDRESS


@pytest.mark.parametrize("host", ["192.0.2.1", "a" * 100 + ".invalid"])
def test_an_address_of_another_machine_is_explained(host: str) -> None:
    with pytest.raises(ListenError, match="--host"):
        check_port(host, 0)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.7", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104 - only looked at
        ("::", False),
        ("example.org", False),
    ],
)
def test_loopback_addresses(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_socket_is_answered_while_a_process_listens(tmp_path: Path) -> None:
    path = short_socket_path(tmp_path / "s")
    assert not is_answered(path)
    with socket.socket(socket.AF_UNIX) as listener:
        with owner_only():
            listener.bind(os.fspath(path))
        assert path.stat().st_mode & 0o777 == 0o600
        listener.listen(1)
        assert is_answered(path)
    assert not is_answered(path)
    path.unlink()


def test_long_socket_paths_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tmp_path))
    short, long = tmp_path / "s", tmp_path / ("x" * MAX_SOCKET_PATH_BYTES) / "s"
    if len(os.fsencode(short)) <= MAX_SOCKET_PATH_BYTES:
        assert short_socket_path(short) == short
    found = short_socket_path(long)
    assert found == short_socket_path(long)
    assert found != short_socket_path(long.with_name("t"))
    assert found.parent.parent == tmp_path
    assert found.parent.stat().st_mode & 0o777 == 0o700
    found.parent.chmod(0o755)
    with pytest.raises(ListenError, match="open to other users"):
        short_socket_path(long)
