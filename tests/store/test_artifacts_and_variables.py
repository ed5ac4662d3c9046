"""Artifacts and variables, over both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.store.builders import (
    START_US,
    a_run,
    add_runs,
    an_artifact,
    delete_tree,
    do,
    new_id,
    put_artifacts,
)

from flowspan_service.app.ports.artifacts import ArtifactQuery, LatestArtifactQuery
from flowspan_service.app.ports.variables import VariableQuery
from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.variables import Variable

if TYPE_CHECKING:
    from flowspan_service.stores.store import SqlStore


def ids(store: SqlStore, **query: object) -> list[str]:
    """The ids of all artifacts of a query, read in pages of two."""
    found: list[str] = []
    after = None
    while True:
        page = store.artifacts.list(ArtifactQuery(**query, after_id=after, limit=2))  # type: ignore[arg-type] # the caller's
        found += [each.id for each in page.items]
        if not page.has_more:
            return found
        after = found[-1]


def latest(store: SqlStore, prefix: str = "") -> list[tuple[str | None, str]]:
    """Key and id of the latest artifacts, read in pages of two."""
    found: list[tuple[str | None, str]] = []
    after = None
    while True:
        page = store.artifacts.list_latest(
            LatestArtifactQuery(key_prefix=prefix, after_key=after, limit=2)
        )
        found += [(each.key, each.id) for each in page.items]
        if not page.has_more:
            return found
        after = found[-1][0]


def test_an_artifact_comes_back_as_it_was(store: SqlStore) -> None:
    run = a_run()
    add_runs(store, [run])
    whole = an_artifact(
        run, key="a-key", type="table", description="größer\n🙂", data=Payload("json", b"\xff\x00")
    )
    bare = an_artifact(data=None)
    put_artifacts(store, whole, bare)
    assert store.artifacts.get(artifact_id=whole.id) == whole
    assert store.artifacts.get(artifact_id=bare.id) == bare
    assert store.artifacts.get(artifact_id=new_id()) is None
    listed = store.artifacts.list(ArtifactQuery(without_data=True, oldest_first=True))
    assert listed.items == [replace(whole, data=None), bare]


def test_a_changed_artifact_is_one_artifact(store: SqlStore) -> None:
    first = an_artifact(type="progress", data=Payload("json", b"1"))
    put_artifacts(store, first)
    second = replace(first, data=Payload("json", b"2"), updated_us=START_US + 5)
    put_artifacts(store, second)
    assert store.artifacts.list(ArtifactQuery()).items == [second]

    def change_twice(uow) -> None:
        for number in (b"3", b"4"):
            known = uow.artifacts.get(first.id)
            uow.artifacts.put(replace(known, data=Payload("json", number)))

    do(store, change_twice)
    assert store.artifacts.list(ArtifactQuery()).items == [
        replace(second, data=Payload("json", b"4"))
    ]


def test_what_was_put_is_seen_in_the_same_transaction(store: SqlStore) -> None:
    artifact = an_artifact(key="k")

    def put_and_look(uow) -> object:
        assert uow.artifacts.get(artifact.id) is None
        uow.artifacts.put(artifact)
        found = uow.artifacts.get(artifact.id)
        deleted = uow.artifacts.delete(key="k", limit=9)
        return found, deleted, uow.artifacts.get(artifact.id)

    assert do(store, put_and_look) == (artifact, 1, None)
    assert store.artifacts.list(ArtifactQuery()).items == []


def test_an_artifact_may_change_after_it_was_written_in_the_same_transaction(
    store: SqlStore,
) -> None:
    artifact = an_artifact()
    changed = replace(artifact, data=Payload("json", b"2"))

    def put_twice(uow) -> None:
        uow.artifacts.get(artifact.id)
        uow.artifacts.put(artifact)
        assert (
            uow.runs.open_of(new_id(), limit=1, limit_bytes=1).items == []
        )  # a query, for which everything is written
        uow.artifacts.put(changed)

    do(store, put_twice)
    assert store.artifacts.list(ArtifactQuery()).items == [changed]


def test_many_artifacts_in_one_transaction(store: SqlStore) -> None:
    many = [an_artifact(data=Payload("json", bytes(20_000))) for _ in range(700)]
    put_artifacts(store, *many)
    put_artifacts(store, *(replace(each, type="table") for each in many[:600]))
    page = store.artifacts.list(ArtifactQuery(types=("table",), limit=1000, without_data=True))
    assert len(page.items) == 600


def test_lists_are_sorted_paged_and_filtered(store: SqlStore) -> None:
    root = a_run()
    child = a_run(parent=root, kind=RunKind.TASK)
    grandchild = a_run(parent=child, kind=RunKind.TASK)
    other = a_run()
    add_runs(store, [root, child, grandchild, other])
    a = an_artifact(root, key="report")
    b = an_artifact(child, type="table")
    c = an_artifact(grandchild, key="report")
    d = an_artifact(other, key="report-2", type="link")
    e = an_artifact()
    put_artifacts(store, c, a, e, d, b)
    assert ids(store) == [e.id, d.id, c.id, b.id, a.id]
    assert ids(store, oldest_first=True) == [a.id, b.id, c.id, d.id, e.id]
    assert ids(store, key="report") == [c.id, a.id]
    assert ids(store, key="nothing") == []
    assert ids(store, types=("table", "link"), oldest_first=True) == [b.id, d.id]
    assert ids(store, run_id=root.id) == [a.id]
    assert ids(store, run_id=root.id, include_descendants=True) == [c.id, b.id, a.id]
    assert ids(store, run_id=child.id, include_descendants=True) == [c.id, b.id]
    assert ids(store, run_id=root.id, include_descendants=True, key="report") == [c.id, a.id]
    assert ids(store, id_prefix=b.id) == [b.id]
    assert ids(store, id_prefix="ffff") == []
    assert ids(store, id_suffix=b.id[-17:]) == [b.id]
    assert ids(store, id_suffix="0" * 12) == []


def test_the_latest_of_each_key(store: SqlStore) -> None:
    history = [an_artifact(key="b") for _ in range(5)]
    others = [an_artifact(key=key) for key in ("a", "b-2", "c", "z")]
    # The order of arrival does not count.
    put_artifacts(store, *reversed(history))
    put_artifacts(store, an_artifact(), *others)
    newest = history[-1].id
    expected = sorted([("b", newest), *((each.key, each.id) for each in others)])
    assert latest(store) == expected
    assert latest(store, "b") == [("b", newest), ("b-2", others[1].id)]
    assert latest(store, "x") == []
    found = store.artifacts.get(key="b")
    assert found is not None
    assert found.id == newest
    assert store.artifacts.get(key="nothing") is None


def test_a_page_ends_where_it_is_large(store: SqlStore) -> None:
    large = [an_artifact(key=f"k{n}", data=Payload("json", bytes(1000))) for n in range(5)]
    put_artifacts(store, *large)
    page = store.artifacts.list(ArtifactQuery(limit_bytes=1500))
    assert (len(page.items), page.has_more) == (2, True)
    keyed = store.artifacts.list_latest(LatestArtifactQuery(limit_bytes=1500))
    assert (len(keyed.items), keyed.has_more) == (2, True)


def test_artifacts_are_deleted(store: SqlStore) -> None:
    keyed = [an_artifact(key="k") for _ in range(3)]
    single = an_artifact()
    put_artifacts(store, *keyed, single)
    assert do(store, lambda uow: uow.artifacts.delete(artifact_id=single.id, limit=9)) == 1
    assert do(store, lambda uow: uow.artifacts.delete(artifact_id=single.id, limit=9)) == 0
    assert do(store, lambda uow: uow.artifacts.delete(key="k", limit=9)) == 3
    assert ids(store) == []


def test_a_run_that_is_deleted_leaves_what_has_a_key(store: SqlStore) -> None:
    run, other = a_run(), a_run()
    child = a_run(parent=run, kind=RunKind.TASK)
    add_runs(store, [run, child, other])
    kept = an_artifact(child, key="report")
    untouched = an_artifact(other)
    put_artifacts(store, an_artifact(run), an_artifact(child), kept, untouched)
    assert do(store, lambda uow: delete_tree(uow, run.id)) == 2
    assert ids(store) == [untouched.id, kept.id]
    assert ids(store, run_id=run.id, include_descendants=True) == [kept.id]


@pytest.mark.parametrize("value", [b'"text"', b"[1, 2.5, null]", b"12345678901234567890"])
def test_a_variable_comes_back_as_it_was(store: SqlStore, value: bytes) -> None:
    variable = Variable("a_b-c", Payload("json", value), ("x", "ü\0"), START_US, START_US + 1)
    do(store, lambda uow: uow.variables.put(variable))
    assert store.variables.get("a_b-c") == variable
    assert store.variables.get("other") is None


def test_a_variable_is_changed_and_deleted(store: SqlStore) -> None:
    def variable(value: bytes, at_us: int) -> Variable:
        return Variable("v", Payload("json", value), (), START_US, at_us)

    def change(uow) -> object:
        uow.variables.put(variable(b"1", START_US))
        uow.variables.put(variable(b"2", START_US + 1))
        return uow.variables.get("v")

    assert do(store, change) == variable(b"2", START_US + 1)
    assert store.variables.get("v") == variable(b"2", START_US + 1)
    assert do(store, lambda uow: uow.variables.delete("v")) is True
    assert do(store, lambda uow: uow.variables.delete("v")) is False
    assert store.variables.get("v") is None


def test_variables_are_listed_by_name(store: SqlStore) -> None:
    names = ["z", "a-b", "a", "a_b", "b", "ab"]

    def put(uow) -> None:
        for name in names:
            tags = ("odd", "any") if len(name) % 2 else ("any",)
            uow.variables.put(Variable(name, Payload("json", b"1"), tags, START_US, START_US))

    do(store, put)

    def listed(**query: object) -> list[str]:
        found: list[str] = []
        after = None
        while True:
            page = store.variables.list(VariableQuery(**query, after_name=after, limit=2))  # type: ignore[arg-type] # the caller's
            found += [each.name for each in page.items]
            if not page.has_more:
                return found
            after = found[-1]

    assert listed() == sorted(names)
    assert listed(name_prefix="a") == ["a", "a-b", "a_b", "ab"]
    assert listed(name_prefix="a-") == ["a-b"]
    assert listed(tags=("odd", "any")) == [name for name in sorted(names) if len(name) % 2]
    assert listed(tags=("other",)) == []
