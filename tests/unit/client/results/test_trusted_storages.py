"""Results at locations that only a run has named are not read unless the caller trusts them."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.api.models import Payload, State
from flowspan.core.result_options import REFERENCE_ENCODING
from flowspan.core.state_types import StateType
from flowspan.exceptions import MissingResult, ResultUnreadable, UntrustedResult
from flowspan.results import trusted_storages as trust_module
from flowspan.results.record import made_record, pack
from flowspan.results.store import ResultStore
from flowspan.serializers import JSONSerializer, PickleSerializer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOME_RESULTS = "results"


class Bomb:
    """A value whose pickle creates a file when loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> dict[str, None]:
    """Replace the configured storages of this process by an empty set; return it."""
    fresh: dict[str, None] = {}
    monkeypatch.setattr(trust_module, "_configured", fresh)
    return fresh


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[Path]:
    """Yield the file that a bomb creates; it must not exist at the end."""
    path = tmp_path / "exploded"
    yield path
    assert not path.exists()


def state_at(url: str, *, key: str = "key", serializer: str = "pickle") -> State:
    data = json.dumps({"url": url, "key": key, "serializer": serializer}).encode()
    reference = Payload(encoding=REFERENCE_ENCODING, data=data)
    return State(type=StateType.COMPLETED, name="Completed", result_reference=reference)


def write(path: Path, value: Any, writer: Any = None, **changes: Any) -> str:
    record = made_record(value, writer or PickleSerializer(), key="key", created_ns=1)
    for name, changed in changes.items():
        object.__setattr__(record, name, changed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack(record))
    return path.absolute().as_uri()


def test_results_of_the_own_home_are_read(flowspan_home: Path) -> None:
    url = write(flowspan_home / "results" / "a" / "b", 412)
    assert state_at(url).result() == 412
    assert asyncio.run(state_at(url).aresult()) == 412


def test_results_elsewhere_are_not_read_and_it_is_said_what_to_do(
    tmp_path: Path, bomb: Path
) -> None:
    url = write(tmp_path / "elsewhere" / "x", Bomb(bomb))
    with pytest.raises(UntrustedResult) as caught:
        state_at(url).result()
    for part in (url, "trust=True", "FLOWSPAN_RESULTS_TRUSTED_STORAGES"):
        assert part in str(caught.value)
    with pytest.raises(UntrustedResult):
        asyncio.run(state_at(url).aresult())
    reference = state_at(url).result_reference
    assert reference is not None
    with pytest.raises(UntrustedResult):
        reference.load()


def _of_setting(folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, str(folder))


def _of_flow(folder: Path, _: pytest.MonkeyPatch) -> None:
    @flow(result_storage=folder)
    def kept() -> None: ...


def _of_task(folder: Path, _: pytest.MonkeyPatch) -> None:
    @task
    def kept() -> None: ...

    kept.with_options(result_storage=str(folder))


def _of_store(folder: Path, _: pytest.MonkeyPatch) -> None:
    ResultStore(folder)


CONFIGURED: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "results url": partial(_of_setting, variable="FLOWSPAN_RESULTS_URL"),
    "trusted": partial(_of_setting, variable="FLOWSPAN_RESULTS_TRUSTED_STORAGES"),
    "flow": _of_flow,
    "task": _of_task,
    "store": _of_store,
}


@pytest.mark.parametrize("configure", CONFIGURED.values(), ids=CONFIGURED)
def test_results_in_configured_storages_are_read(
    configure: Callable[[Path, pytest.MonkeyPatch], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = write(tmp_path / "elsewhere" / "x", 412)
    with pytest.raises(UntrustedResult):
        state_at(url).result()
    configure(tmp_path / "elsewhere", monkeypatch)
    assert state_at(url).result() == 412


def test_the_caller_may_trust_all_or_some(tmp_path: Path) -> None:
    url = write(tmp_path / "elsewhere" / "x", 412)
    folder = tmp_path / "elsewhere"
    for trusted in (True, folder, str(folder), folder.as_uri(), tmp_path, [tmp_path / "y", folder]):
        assert state_at(url).result(trust=trusted) == 412
    for wrong in (False, None, [], tmp_path / "other", "s3://bucket", "file://host/data"):
        with pytest.raises(UntrustedResult):
            state_at(url).result(trust=wrong)
    for nonsense in (7, [7]):
        with pytest.raises(TypeError):
            state_at(url).result(trust=nonsense)


def _traversal(home: Path, elsewhere: Path) -> str:
    return f"{(home / HOME_RESULTS).as_uri()}/../../{elsewhere.name}/x"


def _encoded(home: Path, elsewhere: Path) -> str:
    return f"{(home / HOME_RESULTS).as_uri()}/%2e%2e/%2E%2E/{elsewhere.name}/x"


def _link(home: Path, elsewhere: Path) -> str:
    (home / HOME_RESULTS / "link").symlink_to(elsewhere)
    return (home / HOME_RESULTS / "link" / "x").as_uri()


def _link_to_file(home: Path, elsewhere: Path) -> str:
    (home / HOME_RESULTS / "x").symlink_to(elsewhere / "x")
    return (home / HOME_RESULTS / "x").as_uri()


ESCAPES: dict[str, Callable[[Path, Path], str]] = {
    "traversal": _traversal,
    "encoded traversal": _encoded,
    "link to a folder": _link,
    "link to a file": _link_to_file,
    "sibling": lambda home, _: f"{(home / HOME_RESULTS).as_uri()}-of-mallory/x",
    "plain path": lambda _, elsewhere: f"{elsewhere}/x",
    "local": lambda _, elsewhere: f"local://{elsewhere}/x",
    "another host": lambda home, _: f"file://mallory{home}/{HOME_RESULTS}/x",
    "chain": lambda _, elsewhere: f"simplecache::file://{elsewhere}/x",
    "chain behind": lambda home, elsewhere: (
        f"{(home / HOME_RESULTS).as_uri()}/x::file://{elsewhere}/x"
    ),
    "http": lambda *_: "http://127.0.0.1:1/x",
    "s3": lambda *_: "s3://mallory/x",
    "memory": lambda *_: "memory://mallory/x",
    "data": lambda *_: "data:,x",
    "github": lambda *_: "github://mallory:x@main/x",
    "reference": lambda *_: "reference://x",
    "unknown": lambda *_: "nonsense://x/y",
    "nothing": lambda *_: "",
    "nul": lambda home, _: f"{(home / HOME_RESULTS).as_uri()}/%00",
    "proc": lambda *_: "file:///proc/self/root/etc/passwd",
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_no_way_leads_out_of_a_storage(
    escape: Callable[[Path, Path], str], flowspan_home: Path, bomb: Path
) -> None:
    elsewhere = flowspan_home.parent / "elsewhere"
    write(elsewhere / "x", Bomb(bomb))
    write(flowspan_home.parent / f"{HOME_RESULTS}-of-mallory" / "x", Bomb(bomb))
    (flowspan_home / HOME_RESULTS).mkdir(parents=True)
    url = escape(flowspan_home, elsewhere)
    with pytest.raises((UntrustedResult, MissingResult)):
        state_at(url).result()


@pytest.mark.parametrize("rest", ["../mallory/x", "a/../../x", "x::file:///etc/passwd", "%2e%2e/x"])
def test_no_way_leads_out_of_a_remote_storage(
    rest: str, bomb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del bomb
    monkeypatch.setenv("FLOWSPAN_RESULTS_URL", "memory://results/of-mine")
    with pytest.raises(UntrustedResult):
        state_at(f"memory://results/of-mine/{rest}").result()
    with pytest.raises(UntrustedResult):
        state_at("memory://results/of-mine-too/x").result()


def test_results_in_a_remote_storage_are_read(configured: dict[str, None]) -> None:
    store = ResultStore("memory://results/trusted")
    store.write(412, key="a/b")
    url = store.url_of("a/b")
    assert state_at(url, key="a/b").result() == 412
    configured.clear()
    with pytest.raises(UntrustedResult):
        state_at(url).result()
    for trusted in (True, "memory://results", "memory://results/trusted/", url):
        assert state_at(url).result(trust=trusted) == 412


def test_a_storage_behind_a_link_is_the_same_storage(flowspan_home: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    url = write(real / HOME_RESULTS / "x", 412)
    flowspan_home.symlink_to(real)
    assert state_at(url).result() == 412
    assert state_at((flowspan_home / HOME_RESULTS / "x").as_uri()).result() == 412


def test_a_state_that_says_json_never_leads_to_a_pickle(flowspan_home: Path, bomb: Path) -> None:
    url = write(flowspan_home / HOME_RESULTS / "x", Bomb(bomb))
    for named in ("json", "compressed/json", "of_mine:Serializer", "compressed/pickle"):
        with pytest.raises(UntrustedResult, match="trust=True"):
            state_at(url, serializer=named).result()
    assert state_at(write(flowspan_home / HOME_RESULTS / "y", 1)).result() == 1
    plain = write(flowspan_home / HOME_RESULTS / "z", 412, JSONSerializer())
    for named in ("json", "pickle"):
        assert state_at(plain, serializer=named).result() == 412


def test_a_serializer_that_the_state_does_not_name_is_not_imported(flowspan_home: Path) -> None:
    url = write(flowspan_home / HOME_RESULTS / "x", 1, serializer={"type": "this:Module"})
    with pytest.raises(UntrustedResult):
        state_at(url).result()


def test_an_index_leads_only_to_trusted_storages(tmp_path: Path, bomb: Path) -> None:
    """The entry of a key in a metadata folder also states the location of the value."""
    elsewhere = write(tmp_path / "elsewhere" / "x", Bomb(bomb))
    lead = made_record(1, PickleSerializer(), key="key", created_ns=1)
    object.__setattr__(lead, "location", elsewhere)
    index = tmp_path / "index"
    index.mkdir()
    (index / "key").write_bytes(pack(lead))
    store = ResultStore(tmp_path / "results", metadata_storage=index)
    with pytest.raises(UntrustedResult):
        store.read("key")
    assert store.find("key") is None


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_no_result(kind: str, flowspan_home: Path) -> None:
    path = flowspan_home / HOME_RESULTS / "x"
    path.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises((MissingResult, ResultUnreadable)):
        state_at(path.as_uri()).result()


def test_a_pickle_is_a_bomb_where_it_is_trusted(tmp_path: Path) -> None:
    """Proves that the tests above would notice a loaded pickle."""
    path = tmp_path / "exploded"
    url = write(tmp_path / "elsewhere" / "x", Bomb(path))
    state_at(url).result(trust=True)
    assert path.exists()
    assert pickle.dumps(Bomb(path))
