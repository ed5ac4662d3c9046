"""The user behind a connection over loopback, as the kernel knows it.

A TCP connection, unlike a Unix socket, does not tell who made it. Linux tells for any connection of
the machine: over netlink (sock_diag(7)) or, where that is missing, in /proc/net/tcp. No other
supported system does, so there every user of the machine can use the service's port.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NETLINK = 16
_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = 1
_HEADER = struct.Struct("=IHHII")
_QUERY = struct.Struct("=BBBBI")
_PORTS = struct.Struct("!HH")
_REST = struct.Struct("=III")
_QUERY_BYTES = _HEADER.size + _QUERY.size + _PORTS.size + 32 + _REST.size
_NO_COOKIE = 0xFFFF_FFFF
_ESTABLISHED = 1
_USER_AT = _HEADER.size + 4 + 48 + 12
"""The offset of the user id in an answer: after the header, states, the id and three numbers."""
_TIMEOUT_S = 1.0
_PROC_FILES = ("/proc/net/tcp", "/proc/net/tcp6")
_ROOT = 0


class Endpoint(NamedTuple):
    """One end of a TCP connection."""

    host: str
    port: int


def parse_peer(peer: str) -> Endpoint | None:
    """Return the endpoint in gRPC's notation, "ipv4:127.0.0.1:80" or "ipv6:[::1]:80", or None."""
    version, _, place = peer.partition(":")
    host, _, port = place.rpartition(":")
    if not port.isdecimal():
        return None
    try:
        if version == "ipv6":
            host = _unmapped(unquote(host).strip("[]").partition("%")[0])
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):
        return None
    return Endpoint(host, int(port))


def is_local(peer: str) -> bool:
    """Return True if a call came over a Unix socket or the loopback device.

    Args:
        peer: The peer in gRPC's notation; empty over HTTP on a Unix socket, or if it is unknown.
    """
    if peer.startswith("unix:"):
        return True
    end = parse_peer(peer)
    return end is not None and ip_address(end.host).is_loopback


def _unmapped(host: str) -> str:
    """Return an address of IPv6, or that of IPv4 that it contains."""
    address = IPv6Address(host)
    return str(address.ipv4_mapped or address)


def endpoints(host: str, ports: Iterable[int]) -> list[Endpoint]:
    """Return the endpoints of a host that listens on some ports."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    hosts = dict.fromkeys(str(each[4][0]) for each in found)
    return [Endpoint(each, port) for port in ports for each in hosts]


class OwnUser:
    """Tells the connections of this user, and of root, from those of other users.

    Args:
        listening: The endpoints on which the service listens.

    Attributes:
        is_known: False if this system does not tell the users of connections. All connections then
            count as this user's.
    """

    def __init__(self, listening: Iterable[Endpoint]) -> None:
        self._listening = list(listening)
        self._netlink = _working_netlink()
        self._user_of: Callable[[Endpoint, Endpoint], int | None] | None = self._netlink
        if self._user_of is None and _works(from_proc):
            self._user_of = from_proc
        self.is_known = self._user_of is not None

    def __call__(self, peer: str) -> bool:
        """Return True if the peer of a call is this user.

        Args:
            peer: The peer in gRPC's notation.
        """
        if self._user_of is None:
            return True
        end = parse_peer(peer)
        if end is None:
            return False
        for place in self._listening:
            if (":" in place.host) is (":" in end.host):
                user = self._user_of(end, place)
                if user is not None:
                    return user in (os.geteuid(), _ROOT)
        return False  # the connection is gone

    def close(self) -> None:
        """Close what it has open."""
        if self._netlink is not None:
            self._netlink.close()


class Netlink:
    """Asks the kernel for one connection. Its socket stays open, as a new one costs ten times more.

    Raises:
        OSError: This system has no such sockets.
    """

    def __init__(self) -> None:
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        self._socket = socket.socket(_NETLINK, kind, _SOCK_DIAG)
        self._socket.settimeout(_TIMEOUT_S)
        self._number = 0

    def __call__(self, end: Endpoint, place: Endpoint) -> int | None:
        """Return the user at an end of the connection to a place, or None, in some microseconds.

        Raises:
            OSError: This system does not answer such questions.
        """
        family = socket.AF_INET6 if ":" in end.host else socket.AF_INET
        self._number = (self._number + 1) & 0xFFFF_FFFF
        self._socket.send(
            _HEADER.pack(_QUERY_BYTES, _SOCK_DIAG_BY_FAMILY, _REQUEST, self._number, 0)
            + _QUERY.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << _ESTABLISHED)
            + _PORTS.pack(end.port, place.port)
            + socket.inet_pton(family, end.host).ljust(16, b"\0")
            + socket.inet_pton(family, place.host).ljust(16, b"\0")
            + _REST.pack(0, _NO_COOKIE, _NO_COOKIE)
        )
        while True:
            answer = self._socket.recv(4096)
            _, kind, _, number, _ = _HEADER.unpack_from(answer)
            if number == self._number:
                break  # else a late answer to an earlier question
        if kind != _SOCK_DIAG_BY_FAMILY or answer[_HEADER.size + 1] != _ESTABLISHED:
            return None
        return int(struct.unpack_from("=I", answer, _USER_AT)[0])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def from_proc(end: Endpoint, place: Endpoint) -> int | None:
    """Return the user at an end of the connection to a place, from the kernel's tables."""
    ends, places = _in_table(end), _in_table(place)
    for file in _PROC_FILES:
        with contextlib.suppress(OSError), Path(file).open(encoding="ascii") as lines:
            for line in lines:
                fields = line.split()
                # The kernel knows the user of an open connection only: a closed one has 0, as root.
                if fields[1] in ends and fields[2] in places and fields[3] == "01":
                    return int(fields[7])
    return None


def _in_table(end: Endpoint) -> set[str]:
    """Return an endpoint as the tables write it: words in the machine's order, in hex."""
    packed = ip_address(end.host).packed
    forms = [packed, bytes(10) + b"\xff\xff" + packed] if len(packed) == 4 else [packed]
    return {f"{_words(form)}:{end.port:04X}" for form in forms}


def _words(packed: bytes) -> str:
    count = len(packed) // 4
    return "".join(f"{word:08X}" for word in struct.unpack(f"={count}I", packed))


def _working_netlink() -> Netlink | None:
    with contextlib.suppress(OSError):
        netlink = Netlink()
        if _works(netlink):
            return netlink
        netlink.close()
    return None


def _works(user_of: Callable[[Endpoint, Endpoint], int | None]) -> bool:
    """Return True if this user is found at the end of a connection to itself."""
    try:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(1)
            place = Endpoint(*listening.getsockname())
            with socket.create_connection(place, timeout=_TIMEOUT_S) as connection:
                return user_of(Endpoint(*connection.getsockname()), place) == os.geteuid()
    except (OSError, ValueError, IndexError, struct.error):
        return False
