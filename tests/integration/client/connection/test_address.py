"""Addresses: valid and invalid ones, and the messages about an unreachable service."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from flowspan.config import Config
from flowspan.connection import socket_aliases as socket_links
from flowspan.connection.address import connect_socket, explain, parse_address
from flowspan.connection.resolve import find_address, resolve_address
from flowspan.exceptions import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "host", "port", "path", "as_grpc"),
    [
        ("localhost:4600", "localhost", 4600, "", "localhost:4600"),
        ("10.0.0.1:1", "10.0.0.1", 1, "", "10.0.0.1:1"),
        ("[::1]:65535", "::1", 65535, "", "[::1]:65535"),
        ("[fe80::1%eth0]:4600", "fe80::1%eth0", 4600, "", "[fe80::1%eth0]:4600"),
        ("unix:/run/flowspan.sock", "", 0, "/run/flowspan.sock", "unix:/run/flowspan.sock"),
        ("unix:///run/a b.sock", "", 0, "/run/a b.sock", "unix:/run/a b.sock"),
    ],
)
def test_addresses(text: str, host: str, port: int, path: str, as_grpc: str) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.path) == (host, port, path)
    assert str(address) == address.text == as_grpc
    assert not address.is_local


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("localhost:4600", "dns:///localhost:4600"),
        ("ipv4:4600", "dns:///ipv4:4600"),
        ("dns:4600", "dns:///dns:4600"),
        ("[fe80::1%eth0]:4600", "dns:///[fe80::1%25eth0]:4600"),
        ("unix:/run/a%41 b#c?d.sock", "unix:/run/a%2541%20b%23c%3Fd.sock"),
    ],
)
def test_grpc_is_given_what_it_reads_as_the_same_address(text: str, target: str) -> None:
    assert parse_address(text).grpc_target == target


@pytest.mark.parametrize("temporary", ["t", "t,mp", "read-only"])
@pytest.mark.parametrize("name", ["a,b.sock", ",", "a:b,c;d/s.sock", "100%,41.sock", "ü,\udcff"])
def test_a_socket_with_a_comma_has_a_link_without_one(
    name: str, temporary: str, short_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = short_tmp_path / temporary
    if temporary != "read-only":  # A missing folder cannot be written to either.
        folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr(socket_links, "_PLACES", (str(short_tmp_path),))
    path = os.fspath(short_tmp_path / name)
    address = parse_address(f"unix:{path}")
    assert address.path == path
    link = unquote(address.grpc_target.removeprefix("unix:"), errors="surrogateescape")
    assert "," not in link
    assert os.readlink(link) == path
    assert stat.S_IMODE(os.stat(os.path.dirname(link)).st_mode) == 0o700
    # The link is created once, and replaced if it leads elsewhere.
    assert os.listdir(os.path.dirname(link)) == [os.path.basename(link)]
    os.unlink(link)
    os.symlink("elsewhere", link)
    assert unquote(address.grpc_target.removeprefix("unix:"), errors="surrogateescape") == link
    assert os.readlink(link) == path


def test_where_no_link_can_be_made_it_is_said(
    short_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = short_tmp_path / f"flowspan-{os.geteuid()}"
    mine.write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(short_tmp_path))
    monkeypatch.setattr(socket_links, "_PLACES", ())
    with pytest.raises(ConfigError, match=r"gRPC cannot connect .* a,b.*without a comma") as caught:
        parse_address("unix:/tmp/ a,b").grpc_target  # noqa: B018 - the property raises
    assert str(mine) in str(caught.value)


def test_a_folder_of_somebody_elses_is_not_used_for_links(
    short_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (short_tmp_path / "theirs" / f"flowspan-{os.geteuid()}").mkdir(parents=True, mode=0o755)
    monkeypatch.setattr("tempfile.tempdir", str(short_tmp_path / "theirs"))
    monkeypatch.setattr(socket_links, "_PLACES", (str(short_tmp_path),))
    target = parse_address("unix:/tmp/a,b").grpc_target
    assert os.path.dirname(target) == f"unix:{short_tmp_path}/flowspan-{os.geteuid()}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no port"),
        ("localhost", "no port"),
        ("localhost:", "malformed"),
        ("localhost:0", "malformed"),
        ("localhost:65536", "malformed"),
        ("::1:4600", "malformed"),
        ("grpc://localhost:4600", "URL"),
        ("unix:", "absolute"),
        ("unix:/", "absolute"),
        ("unix:here", "absolute"),
        ("host:46 00", "malformed"),
    ],
)
def test_what_is_no_address(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        parse_address(text, source="--address")
    assert str(caught.value).startswith(f"--address={text!r}: ")


def test_the_configured_address_wins_over_the_local_service(tmp_path: Path) -> None:
    config = Config(home=tmp_path, address="127.0.0.1:4600")
    assert resolve_address(config).text == "127.0.0.1:4600"
    assert find_address(config) == resolve_address(config)


def test_without_an_address_and_without_a_service_nothing_is_found(tmp_path: Path) -> None:
    assert find_address(Config(home=tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "nothing listens there"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "no such socket"),
        (TimeoutError(), "did not answer in time"),
        (socket.gaierror(-2, "Name or service not known"), "host name 'where' is not known"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "No route to host"),
    ],
)
def test_why_nobody_was_reached(error: OSError, why: str) -> None:
    text = explain(parse_address("where:4600"), error)
    assert "where:4600" in text
    assert "flowspan server start" in text
    assert why in text


def test_a_local_service_needs_nobody_to_start_it(tmp_path: Path) -> None:
    address = parse_address("unix:/nowhere", home=tmp_path)
    assert address.is_local
    assert "server start" not in explain(
        address, ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    )


def test_a_socket_that_was_connected_with_itself_is_no_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel may choose the service's port for the near end if nothing listens there."""
    alone = socket.socket()
    alone.bind(("127.0.0.1", 0))
    host, port = alone.getsockname()
    alone.connect((host, port))
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: alone)
    with pytest.raises(ConnectionRefusedError):
        connect_socket(parse_address(f"{host}:{port}"), timeout_s=5.0)
    assert alone.fileno() == -1, "the self-connected socket must be closed"
