"""Variables, set and read by flows, tasks and plain code, stored by a real service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.flow_processes import run_code
from tests.support.version_skew import replaying

from flowspan import get_client
from flowspan.exceptions import ApiError, ServiceUnavailableError, VariableAlreadyExists
from flowspan.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess


@pytest.fixture
def address(service: ServiceProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start a service for this test alone; return its address, which is configured."""
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    return service.address


class Face:
    """Calls the sync methods or the async ones."""

    def __init__(self, *, is_sync: bool) -> None:
        self._is_sync = is_sync

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._is_sync:
                return getattr(Variable, name)(*args, **kwargs)
            return asyncio.run(getattr(Variable, f"a{name}")(*args, **kwargs))

        return call


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    return Face(is_sync=request.param == "sync")


VALUES = [
    "text",
    12,
    2**70,
    1.5,
    None,
    True,
    [1, [2, "ü"]],
    {"a": {"b": None}, "": 0},
]


def test_any_json_value_comes_back(address: str, face: Face) -> None:
    for index, value in enumerate(VALUES):
        done = face.set(f"v_{index}-x", value)
        assert done == Variable(f"v_{index}-x", value, [])
        found = face.get(f"v_{index}-x", default="other")
        assert found == value
        assert type(found) is type(value)


def test_defaults_overwriting_and_deleting(address: str, face: Face) -> None:
    assert face.get("limit") is None
    assert face.get("limit", 5) == 5
    assert face.get("limit", default=7) == 7
    assert face.set("limit", 1, tags=["a", "b"]).tags == ["a", "b"]
    with pytest.raises(ValueError, match=r"'limit' already exists\. Pass overwrite=True"):
        face.set("limit", 2)
    with pytest.raises(VariableAlreadyExists):
        face.set("limit", 2, overwrite=False)
    assert face.get("limit", 5) == 1
    assert face.set("limit", [2], overwrite=True) == Variable("limit", [2])
    assert face.get("limit") == [2]
    assert face.unset("limit") is True
    assert face.unset("limit") is False
    assert face.get("limit", 5) == 5


def test_bad_names_and_values_are_refused(address: str, face: Face) -> None:
    for name in ("", "A", "a b", "a.b", "ä", "a" * 256):
        with pytest.raises(ValueError, match="valid variable name"):
            face.set(name, 1)
        assert face.get(name, "none") == "none"
        assert face.unset(name) is False
    with pytest.raises(TypeError, match="cannot be represented in JSON"):
        face.set("v", object())
    with pytest.raises(ApiError, match=r"variable\.value\.data: 70002 bytes"):
        face.set("v", "x" * 70_000)
    assert face.get("v") is None


def test_in_flows_and_tasks(service: ServiceProcess) -> None:
    code = """
        import asyncio
        from flowspan import flow, task
        from flowspan.variables import Variable

        @task
        def double():
            value = Variable.get("number", 1) * 2
            Variable.set("number", value, overwrite=True)
            return value

        @task
        async def adouble():
            value = await Variable.aget("number", 1) * 2
            # As in Prefect, coroutines may await these as well.
            assert await Variable.get("number", 1) * 2 == value
            await Variable.set("number", value, overwrite=True)
            return value

        @flow
        def outer():
            return [double(), double(), asyncio.run(adouble())]

        @flow
        async def aouter():
            assert double() == 16
            return [await adouble(), await Variable.unset("number")]

        print(outer(), asyncio.run(aouter()))
    """
    output = run_code(code, home=service.home / "client", address=service.address)
    assert "[2, 4, 8] [32, True]" in output


def test_plain_code_that_a_coroutine_calls_gets_the_value(service: ServiceProcess) -> None:
    code = """
        import asyncio, inspect
        from flowspan import flow, task
        from flowspan.variables import Variable

        @task
        def plain():
            return Variable.get("nothing", "default")

        @flow
        async def outer():
            waiting = Variable.get("nothing", "default")
            assert inspect.iscoroutine(waiting)
            return [plain(), await waiting]

        print(asyncio.run(outer()))
    """
    output = run_code(code, home=service.home / "client", address=service.address)
    assert "['default', 'default']" in output


def test_variables_are_listed_with_the_client(address: str) -> None:
    for name, tags in [("a-1", ["x"]), ("b", []), ("a-2", ["x", "y"])]:
        Variable.set(name, name.upper(), tags=tags)
    with get_client(sync_client=True) as client:
        assert [each.name for each in client.read_variables(page_size=1)] == ["a-1", "a-2", "b"]
        assert [each.name for each in client.read_variables(tags=["y", "x"])] == ["a-2"]
        assert [each.name for each in client.read_variables(name_prefix="b")] == ["b"]
        found = client.read_variable_by_name("b")
        assert found is not None
        assert found.value.json() == "B"
        assert found.created_at == found.updated_at
        assert client.read_variable_by_name("c") is None


def test_without_a_service(monkeypatch: pytest.MonkeyPatch, face: Face) -> None:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", "127.0.0.1:1")
    for call in (lambda: face.get("v", 1), lambda: face.set("v", 1), lambda: face.unset("v")):
        with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:1"):
            call()


def test_a_service_without_variables_says_that_it_is_older(
    monkeypatch: pytest.MonkeyPatch, face: Face
) -> None:
    with replaying([]) as address:
        monkeypatch.setenv("FLOWSPAN_ADDRESS", address)
        with pytest.raises(ApiError) as caught:
            face.get("v", 1)
        assert "older" in caught.value.advice
