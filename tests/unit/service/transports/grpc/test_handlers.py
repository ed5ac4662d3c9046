"""gRPC handlers over a context that is made up."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from flowspan_service.api.calls.call import Call
from flowspan_service.domain.errors import NotFoundError
from flowspan_service.transports.grpc.handlers import service_handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class AbortedError(Exception):
    """gRPC's own way to end a call."""


class FakeContext:
    """The context of a call, as far as handlers use it."""

    def __init__(self, *frames: bytes) -> None:
        self.frames = [*frames, grpc.aio.EOF]
        self.written: list[bytes] = []
        self.headers_at: list[int] = []
        self.aborted: tuple[Any, ...] = ()

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("user-agent", "test"), ("flowspan-run", "r:1"))

    def peer(self) -> str:
        return "ipv4:127.0.0.1:5"

    def time_remaining(self) -> float | None:
        return 7.5

    async def read(self) -> Any:
        return self.frames.pop(0)

    async def send_initial_metadata(self, metadata: Any) -> None:
        assert metadata == ()
        self.headers_at.append(len(self.written))

    async def abort(self, code: Any, details: str, *, trailing_metadata: Any) -> None:
        self.aborted = (code, details, dict(trailing_metadata))
        raise AbortedError


class FakeDispatcher:
    """Echoes, and keeps the calls."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[Call] = []
        self.error = error

    async def unary(self, _: Any, data: bytes, call: Call) -> bytes:
        self.calls.append(call)
        if self.error is not None:
            raise self.error
        return data

    async def stream(self, _: Any, request: Any, call: Call) -> AsyncIterator[bytes]:
        self.calls.append(call)
        if isinstance(request, bytes):
            yield request
        else:
            async for frame in request:
                yield frame
        if self.error is not None:
            raise self.error


def handler(dispatcher: FakeDispatcher, **kind: bool) -> Any:
    flags = {"takes_frames": False, "is_stream": False, **kind}
    method: Any = SimpleNamespace(name="Get", path="/a.Service/Get", **flags)
    generic = service_handler("a.Service", [method], dispatcher)  # type: ignore[arg-type] # a fake
    return generic.service(SimpleNamespace(method="/a.Service/Get"))


def test_the_call_has_the_facts_of_the_context() -> None:
    dispatcher = FakeDispatcher()
    context = FakeContext()
    assert asyncio.run(handler(dispatcher).unary_unary(b"x", context)) == b"x"
    metadata = {"user-agent": "test", "flowspan-run": "r:1"}
    assert dispatcher.calls == [Call(metadata, "ipv4:127.0.0.1:5", 7.5)]


def test_answers_of_a_stream_are_passed_on() -> None:
    async def collect() -> list[bytes]:
        found = handler(FakeDispatcher(), is_stream=True).unary_stream(b"x", FakeContext())
        return [each async for each in found]

    assert asyncio.run(collect()) == [b"x"]


def test_the_headers_of_a_stream_come_before_its_first_answer() -> None:
    context = FakeContext()

    async def follow() -> None:
        made = handler(FakeDispatcher(), is_stream=True)
        async for each in made.unary_stream(b"x", context):
            context.written.append(each)

    asyncio.run(follow())
    assert context.written == [b"x"]
    assert context.headers_at == [0]


async def answers(made: Any, context: FakeContext) -> None:
    """Iterate a stream of frames, as interceptors and gRPC do."""
    async for each in made.stream_stream(None, context):
        context.written.append(each)


def test_frames_are_read_until_the_end_of_the_stream() -> None:
    context = FakeContext(b"1", b"2")
    made = handler(FakeDispatcher(), takes_frames=True, is_stream=True)
    asyncio.run(answers(made, context))
    assert context.written == [b"1", b"2"]


@pytest.mark.parametrize("kind", ["unary_stream", "stream_stream"])
def test_methods_with_streams_of_answers_are_generators(kind: str) -> None:
    """Interceptors, such as OpenTelemetry's, iterate all of them."""
    made = handler(FakeDispatcher(), takes_frames=kind == "stream_stream", is_stream=True)
    assert inspect.isasyncgenfunction(getattr(made, kind))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError("There is no run 5."), grpc.StatusCode.NOT_FOUND),
        (ZeroDivisionError("a defect"), grpc.StatusCode.INTERNAL),
    ],
)
def test_an_error_ends_the_call_with_its_status(error: Exception, code: grpc.StatusCode) -> None:
    context = FakeContext()
    with pytest.raises(AbortedError):
        asyncio.run(handler(FakeDispatcher(error)).unary_unary(b"x", context))
    found, details, metadata = context.aborted
    assert found is code
    assert "defect" not in details
    assert set(metadata) == {"grpc-status-details-bin"}


def test_an_error_of_a_stream_comes_after_its_answers() -> None:
    context = FakeContext(b"1")
    made = handler(FakeDispatcher(NotFoundError("gone")), takes_frames=True, is_stream=True)
    with pytest.raises(AbortedError):
        asyncio.run(answers(made, context))
    assert context.written == [b"1"]
    assert context.aborted[0] is grpc.StatusCode.NOT_FOUND
