"""The user behind real connections, by each way in which the kernel tells it."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
from tests.support.access import NOBODY, needs_root

from flowspan_service.process.peer_users import Endpoint, Netlink, OwnUser, from_proc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOSTS = ["127.0.0.1", "::1"]


@pytest.fixture
def own_user(listening: socket.socket) -> Iterator[OwnUser]:
    with closing(OwnUser([end_of(listening.getsockname())])) as found:
        if not found.is_known:
            pytest.skip("this system does not tell the users of connections")
        yield found


@pytest.fixture(params=["proc", "netlink"])
def user_of(
    request: pytest.FixtureRequest, own_user: OwnUser
) -> Iterator[Callable[[Endpoint, Endpoint], int | None]]:
    with ExitStack() as stack:
        yield from_proc if request.param == "proc" else stack.enter_context(closing(Netlink()))


@pytest.fixture(params=HOSTS)
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    host = request.param
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with found:
        yield found


def end_of(name: tuple[object, ...]) -> Endpoint:
    return Endpoint(str(name[0]), int(str(name[1])))


def test_the_own_user_is_found(
    user_of: Callable[[Endpoint, Endpoint], int | None],
    own_user: OwnUser,
    listening: socket.socket,
) -> None:
    place = end_of(listening.getsockname())
    with socket.create_connection(place) as connection:
        end = end_of(connection.getsockname())
        assert user_of(end, place) == os.geteuid()
        assert user_of(Endpoint(end.host, place.port), place) is None
        peer = f"ipv6:[{end.host}]:{end.port}" if ":" in end.host else f"ipv4:{end.host}:{end.port}"
        assert own_user(peer)
    assert user_of(end, place) is None  # closed: the kernel would name root


@needs_root
def test_another_user_is_told_apart(
    user_of: Callable[[Endpoint, Endpoint], int | None],
    own_user: OwnUser,
    listening: socket.socket,
) -> None:
    place = end_of(listening.getsockname())
    made: list[socket.socket] = []

    def connect() -> None:
        ctypes.CDLL(None).setfsuid(NOBODY)
        made.append(socket.create_connection(place))

    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    with made[0] as connection:
        end = end_of(connection.getsockname())
        assert user_of(end, place) == NOBODY
        assert not own_user(f"ipv6:[{end.host}]:{end.port}")
