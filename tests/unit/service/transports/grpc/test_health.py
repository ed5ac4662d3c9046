"""The health service over a context that is made up."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from flowspan_service.transports.grpc.health import HealthServicer

if TYPE_CHECKING:
    import grpc

if TYPE_CHECKING:
    import grpc

UP, DOWN = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


class AbortedError(Exception):
    """gRPC's own way to end a call."""


class FakeContext:
    async def abort(self, code: grpc.StatusCode) -> None:
        raise AbortedError(code)


def check(servicer: HealthServicer, service: str) -> int:
    response = asyncio.run(servicer.Check(HealthCheckRequest(service=service), FakeContext()))
    return int(response.status)


@pytest.mark.parametrize("service", ["", "a.Service"])
def test_all_services_have_the_same_state(service: str) -> None:
    servicer = HealthServicer(["a.Service"])
    assert check(servicer, service) == UP
    servicer.set(is_serving=False)
    assert check(servicer, service) == DOWN
    servicer.set(is_serving=True)
    assert check(servicer, service) == UP


def test_an_unknown_service_is_not_found() -> None:
    with pytest.raises(AbortedError, match="NOT_FOUND"):
        check(HealthServicer(["a.Service"]), "b.Service")


def test_a_stopped_server_stays_down() -> None:
    servicer = HealthServicer([])
    servicer.stop()
    servicer.set(is_serving=True)
    assert check(servicer, "") == DOWN


def test_a_watch_yields_each_state_that_follows() -> None:
    servicer = HealthServicer(["a.Service"])

    async def watch() -> list[int]:
        states: Any = servicer.Watch(HealthCheckRequest(service="a.Service"), FakeContext())
        found = [(await anext(states)).status]
        servicer.set(is_serving=True)  # no change
        waiting = asyncio.ensure_future(anext(states))
        await asyncio.sleep(0)
        assert not waiting.done()
        servicer.set(is_serving=False)
        found.append((await waiting).status)
        servicer.set(is_serving=True)
        found.append((await anext(states)).status)
        await states.aclose()
        return found

    assert asyncio.run(watch()) == [UP, DOWN, UP]


def test_a_watch_of_an_unknown_service_says_so_and_goes_on() -> None:
    servicer = HealthServicer([])

    async def watch() -> int:
        states: Any = servicer.Watch(HealthCheckRequest(service="later"), FakeContext())
        found = int((await anext(states)).status)
        await states.aclose()
        return found

    assert asyncio.run(watch()) == UNKNOWN


def test_watch_is_a_generator() -> None:
    """Interceptors, such as OpenTelemetry's, iterate it."""
    assert inspect.isasyncgenfunction(HealthServicer.Watch)
