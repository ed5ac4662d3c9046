"""Comparison of an address with the addresses of the service that this process reports to."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from flowspan.connection.address import parse_address
from flowspan.connection.local_service import published
from flowspan.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowspan.config import Config
    from flowspan.connection.address import Address

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104 - compared


def is_reported_to(address: Address, config: Config) -> bool:
    """Return True if the address belongs to the service that this process reports to.

    A service has several addresses: those published in its home, and the names of a host.
    """
    return any(_is_same(address, own) for own in _own_addresses(config))


def _own_addresses(config: Config) -> Iterator[Address]:
    info = published(config.home) or {}
    listening = list(_parsed(info.get("addresses", ())))
    if config.address is None:
        yield from listening
        return
    configured = parse_address(config.address)
    yield configured
    if any(_is_same(configured, each) for each in listening):
        yield from listening


def _parsed(texts: Iterable[object]) -> Iterator[Address]:
    for text in texts:
        try:
            yield parse_address(str(text), source="service.json")
        except ConfigError:
            continue


def _is_same(one: Address, other: Address) -> bool:
    if one.path or other.path:
        return bool(one.path and other.path) and _real(one.path) == _real(other.path)
    if one.port != other.port:
        return False
    hosts = {one.host.lower(), other.host.lower()}
    return len(hosts) == 1 or hosts <= _LOOPBACK or bool(_ips(one) & _ips(other))


def _real(path: str) -> str:
    return os.path.realpath(path)


def _ips(address: Address) -> set[object]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {each[4][0] for each in found}
