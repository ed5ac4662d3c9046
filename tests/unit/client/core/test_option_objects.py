"""Objects as options: never tested for truth, length, equality or hash."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.cache_policies import INPUTS, CachePolicy
from flowspan.locking.memory import MemoryLockManager
from flowspan.results import ResultStore
from flowspan.results.trusted_storages import note_storage, read_trusted
from flowspan.serializers import CompressedSerializer, JSONSerializer
from flowspan.task_runners import ThreadPoolTaskRunner
from flowspan.transactions import IsolationLevel, transaction

if TYPE_CHECKING:
    from tests.support.recorder import Recorder


def refuses(*_: object) -> Any:
    raise RuntimeError("not to be asked")


AWKWARD: dict[str, dict[str, Any]] = {
    "empty": {"__len__": lambda _: 0},
    "false": {"__bool__": lambda _: False},
    "without truth": {"__bool__": refuses},
    "without equality": {"__eq__": refuses, "__hash__": None},
    "without a hash": {"__hash__": refuses},
}
KINDS = pytest.mark.parametrize("kind", AWKWARD.values(), ids=AWKWARD)


class Notes:
    """Records the calls of its functions."""

    def __init__(self) -> None:
        self.calls: list[str] = []


class Ser(Notes):
    def dumps(self, obj: Any) -> bytes:
        self.calls.append("dumps")
        return pickle.dumps(obj)

    def loads(self, blob: bytes) -> Any:
        self.calls.append("loads")
        return pickle.loads(blob)  # noqa: S301 - pickled by this test


class Function(Notes):
    answer: Any = None

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.calls.append("called")
        return self.answer


class Policy(CachePolicy):
    calls: list[str]

    def compute_key(self, *_: Any, **__: Any) -> str:
        self.calls = ["called"]
        return "key"


class Logger(Notes):
    def log(self, *_: Any, **__: Any) -> None:
        self.calls.append("log")


def made(base: Any, kind: dict[str, Any], *args: Any) -> Any:
    return type(base.__name__, (base,), kind)(*args)


@KINDS
def test_serializers(recorder: Recorder, tmp_path: Path, kind: Any) -> None:
    serializer = made(Ser, kind)
    options: dict[str, Any] = {
        "result_serializer": serializer,
        "result_storage": tmp_path,
        "persist_result": True,
    }
    assert task(name="it", **options)(lambda: 1)() == 1
    assert flow(name="outer", **options)(task(name="in")(lambda: 2))() == 2
    assert serializer.calls == ["dumps"] * 3
    store = ResultStore(tmp_path, serializer=CompressedSerializer(serializer))
    store.write(3, "three")
    assert store.load(store.read("three")) == 3


@KINDS
def test_folders(recorder: Recorder, tmp_path: Path, kind: Any) -> None:
    folder = made(type(tmp_path), kind, tmp_path / "results")
    index = made(type(tmp_path), kind, tmp_path / "index")
    it = task(name="it", result_storage=folder, persist_result=True)(lambda: 1)
    assert it() == 1
    assert len(list((tmp_path / "results").iterdir())) == 1
    store = ResultStore(folder, metadata_storage=index)
    store.write(2, "two")
    assert store.find("two") is not None
    assert len(list((tmp_path / "index").iterdir())) == 1
    url = store.url_of("two")
    assert read_trusted(url, trust=[folder])


@KINDS
def test_texts(recorder: Recorder, tmp_path: Path, kind: Any) -> None:
    note_storage(made(str, kind, "memory://results"))
    policy = made(Function, {}, *())
    policy.answer = made(str, kind, "a key")
    it = task(name="it", cache_key_fn=policy, result_storage=tmp_path)(lambda: 1)
    assert [it(), it()] == [1, 1]
    assert [recorder.end(run)[1] for run in recorder.runs] == ["Completed", "Cached"]


@KINDS
def test_policies_and_locks(recorder: Recorder, tmp_path: Path, kind: Any) -> None:
    locks, policy = made(MemoryLockManager, kind), made(Policy, kind)
    level = IsolationLevel.SERIALIZABLE
    locked = policy.configure(lock_manager=locks, isolation_level=level, key_storage=tmp_path)
    assert task(name="it", cache_policy=locked, result_storage=tmp_path)(lambda: 1)() == 1
    assert locked.calls == ["called"]
    both = locked + INPUTS.configure(lock_manager=locks, key_storage=Path(tmp_path))
    assert both.lock_manager is locks
    with pytest.raises(ValueError, match="lock_manager"):
        _ = locked + INPUTS.configure(lock_manager=made(MemoryLockManager, kind))
    store = ResultStore(tmp_path, lock_manager=locks)
    with transaction("other", store=store, isolation_level=level):
        pass


@KINDS
def test_functions(recorder: Recorder, tmp_path: Path, kind: Any) -> None:
    hook, condition, name, key = (made(Function, kind) for _ in range(4))
    name.answer, key.answer, condition.answer = "named", "key", True
    calls: list[int] = []

    def fails_once() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        return 1

    options: dict[str, Any] = {
        "retries": 1,
        "retry_condition_fn": condition,
        "on_running": [hook],
        "on_completion": [hook],
    }
    stored: dict[str, Any] = {"cache_key_fn": key, "result_storage": tmp_path}
    it = task(name="it", task_run_name=name, on_commit=[hook], **stored, **options)(fails_once)
    assert it.with_options(name="it")() == 1
    assert recorder.run("it").run_name == "named"
    assert len(key.calls) == len(condition.calls) == 1
    assert hook.calls == ["called"] * 4
    calls.clear()
    assert flow(name="outer", flow_run_name=name, **options)(fails_once)() == 1
    assert recorder.run("outer").run_name == "named"
    assert len(hook.calls) == 7


@KINDS
def test_a_function_in_the_place_of_a_list_of_hooks(recorder: Recorder, kind: Any) -> None:
    with pytest.raises(TypeError, match=r"on_failure must be a list"):
        task(name="it", on_failure=made(Function, {**kind, "__repr__": lambda _: "it"}))(print)


@KINDS
def test_a_task_runner(recorder: Recorder, kind: Any) -> None:
    runner = made(ThreadPoolTaskRunner, kind)
    one = task(name="one")(lambda: 1)
    assert flow(name="outer", task_runner=runner)(lambda: one.submit().result())() == 1


@KINDS
def test_functions_of_json(kind: Any) -> None:
    decode, options = made(Function, kind), made(dict, kind, {"indent": 1})
    decode.answer = 1
    serializer = JSONSerializer(object_decoder=decode, dumps_kwargs=options)
    assert b"\n" in serializer.dumps({"a": 1})
    assert serializer.loads(b'{"a": 1}') == 1


@KINDS
def test_the_logger_of_a_transaction(recorder: Recorder, tmp_path: Path, kind: Any) -> None:
    def fails(_: object) -> None:
        raise ValueError

    logger = made(Logger, kind)
    with transaction("key", store=ResultStore(tmp_path), logger=logger) as block:
        block.stage(1, on_commit_hooks=[fails])
    assert "log" in logger.calls
    assert logging.getLogger("flowspan.transactions") is not logger
