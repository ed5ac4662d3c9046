"""A TCP proxy between a client and a service that cuts, delays and swallows traffic."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

CHUNK_BYTES = 4096


class Proxy:
    """Forwards connections to a service. Use it as a context manager: leaving it closes everything.

    Args:
        target: ``host:port`` of the service. While it is unreachable, connections close at once.

    Attributes:
        cut_after: Called for each new connection; returns the number of bytes, in both directions
            together, after which it is cut, or None for never. Bytes before the cut are forwarded,
            so a cut can split a frame.
        is_swallowing: While True, nothing is forwarded and nothing is closed.
        delay_s: The delay of each chunk, in seconds.
        connection_count: The number of connections so far.
        cut_count: The number of connections cut so far.
    """

    def __init__(self, target: str) -> None:
        self.retarget(target)
        self.cut_after: Callable[[], int | None] = lambda: None
        self.is_swallowing = False
        self.delay_s = 0.0
        self.connection_count = 0
        self.cut_count = 0
        self._is_closed = False
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """The listening address, `host:port`."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closed = True
        self.cut()
        self._thread.join()
        self._listener.close()

    def retarget(self, target: str) -> None:
        """Forward later connections to another service, at ``host:port``."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))

    def cut(self) -> None:
        """Cut all open connections."""
        for each in list(self._sockets):
            _reset(each)

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connection_count += 1
            try:
                service = socket.create_connection(self._target, timeout=5.0)
            except OSError:
                client.close()
                continue
            _Pair(self, client, service)

    def _open(self, *sockets: socket.socket) -> None:
        self._sockets.update(sockets)

    def _closed(self, *sockets: socket.socket) -> None:
        self._sockets.difference_update(sockets)


class _Pair:
    """One proxied connection with its two sockets."""

    def __init__(self, proxy: Proxy, client: socket.socket, service: socket.socket) -> None:
        self._proxy = proxy
        self._sides = (client, service)
        self._left = proxy.cut_after()
        self._lock = threading.Lock()
        for each in self._sides:
            each.settimeout(0.05)
        proxy._open(*self._sides)
        for source, sink in ((client, service), (service, client)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while True:
                if self._proxy.is_swallowing:
                    time.sleep(0.01)
                    if source.fileno() < 0:
                        return
                    continue
                try:
                    data = source.recv(CHUNK_BYTES)
                except TimeoutError:
                    continue
                if not data:
                    break
                if self._proxy.delay_s:
                    time.sleep(self._proxy.delay_s)
                while self._proxy.is_swallowing and source.fileno() >= 0:
                    time.sleep(0.01)
                if not self._forward(sink, data):
                    break
        self._proxy._closed(*self._sides)
        for each in self._sides:
            _reset(each)

    def _forward(self, sink: socket.socket, data: bytes) -> bool:
        """Forward the data up to the cut; return False if the connection must be cut now."""
        with self._lock:
            is_cut = self._left is not None and self._left <= len(data)
            if is_cut:
                data = data[: self._left]
                self._left = 0
            elif self._left is not None:
                self._left -= len(data)
        view = memoryview(data)
        while view:
            with suppress(TimeoutError):
                view = view[sink.send(view) :]
        if is_cut:
            self._proxy.cut_count += 1
        return not is_cut


def _reset(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
