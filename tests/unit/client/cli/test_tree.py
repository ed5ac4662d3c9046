from __future__ import annotations

import itertools
import random

import pytest
from tests.support.api_records import make_chain, make_change, make_run, run_id

from flowspan.api import RunSnapshot, SnapshotEnd, StateType
from flowspan.cli.tree import RunTree, build


def family():
    return [
        make_run(0, "root", is_flow=True, kind=StateType.RUNNING),
        make_run(1, "find", parent=0),
        make_run(2, "package", parent=0, is_flow=True, kind=StateType.RUNNING),
        make_run(3, "parse", parent=2),
        make_run(4, "parse", parent=2, kind=StateType.FAILED),
        make_run(5, "parse", parent=2, kind=StateType.PENDING),
    ]


def shape(node):
    return {node.run.name: [shape(child) for child in node.children]}


FAMILY_SHAPE = {
    "root-0": [{"find-1": []}, {"package-2": [{"parse-3": []}, {"parse-4": []}, {"parse-5": []}]}]
}


def test_runs_find_their_parents_in_any_order():
    runs = family()
    for seed in range(20):
        random.Random(seed).shuffle(runs)
        tree = build(next(run for run in runs if run.id == run_id(0)), runs)
        assert shape(tree.node(run_id(0))) == FAMILY_SHAPE


def test_a_child_may_be_told_of_before_its_parent():
    tree = RunTree(run_id(0))
    for run in reversed(family()):
        tree.apply(RunSnapshot(run))
    assert len(tree) == 6
    group = tree.node(run_id(2)).groups[False, "parse"]
    assert {node.run.name for node in group.nodes} == {"parse-3", "parse-4", "parse-5"}


def test_only_what_is_below_the_root_belongs_to_a_tree():
    runs = family()
    tree = build(runs[2], runs)
    assert [node.run.name for node in tree.nodes()] == [
        "package-2",
        "parse-3",
        "parse-4",
        "parse-5",
    ]
    assert set(tree.counts) == {"package", "parse"}


def test_changes_move_the_counts():
    tree = build(family()[0], family())
    tree.apply(SnapshotEnd(6, "t"))
    group = tree.node(run_id(2)).groups[False, "parse"]
    assert group.ended_count == 2
    tree.apply(make_change(5, StateType.RUNNING, ordinal=3, at_s=1))
    changed = tree.apply(make_change(5, StateType.COMPLETED, ordinal=4, at_s=3))
    assert changed is not None
    assert changed.started_at is not None
    assert changed.ended_at is not None
    assert (changed.ended_at - changed.started_at).total_seconds() == 2
    assert changed.run_duration_s == 2
    assert group.counts == {(StateType.COMPLETED, "Completed"): 2, (StateType.FAILED, "Failed"): 1}
    assert tree.counts["parse"] == group.counts
    assert group.ended_count == 3


def test_a_new_run_comes_with_its_first_change():
    tree = build(family()[0], family())
    new = make_run(9, "parse", parent=2, kind=StateType.PENDING, transition_count=1)
    tree.apply(make_change(9, StateType.PENDING, ordinal=1, run=new))
    assert tree.node(run_id(9)).run is new
    assert tree.node(run_id(2)).groups[False, "parse"].counts[StateType.PENDING, "Pending"] == 2


def test_a_change_that_is_known_already_changes_nothing():
    tree = build(family()[0], family())
    before = tree.node(run_id(4)).run
    tree.apply(make_change(4, StateType.RUNNING, ordinal=2))
    assert tree.node(run_id(4)).run is before


def test_a_new_attempt_takes_back_the_end():
    tree = build(family()[0], family())
    tree.apply(make_change(4, StateType.RUNNING, ordinal=4, attempt=2))
    run = tree.node(run_id(4)).run
    assert (run.attempt, run.ended_at, run.state.type) == (2, None, StateType.RUNNING)
    assert tree.counts["parse"][StateType.FAILED, "Failed"] == 0


def test_a_change_of_a_run_that_was_deleted_is_left_out():
    tree = build(family()[0], family())
    assert tree.apply(make_change(77, StateType.RUNNING, ordinal=2)) is None
    with pytest.raises(KeyError):
        tree.node(run_id(77))


def test_a_snapshot_that_comes_again_replaces():
    tree = build(family()[0], family())
    tree.apply(RunSnapshot(make_run(5, "parse", parent=2)))
    assert len(tree) == 6
    assert tree.counts["parse"][StateType.COMPLETED, "Completed"] == 2
    assert len(tree.node(run_id(2)).children) == 3


@pytest.mark.parametrize("seed", range(30))
def test_what_is_kept_up_to_date_is_what_would_be_built_anew(seed):
    draw = random.Random(seed)
    runs = [make_run(0, "root", is_flow=True, kind=StateType.RUNNING)]
    for number in range(1, 40):
        parent = draw.choice([run for run in runs if run.name.startswith(("root", "flow"))])
        is_flow = draw.random() < 0.3
        runs.append(
            make_run(
                number,
                "flow" if is_flow else "task",
                parent=parent.id.int - run_id(0).int,
                is_flow=is_flow,
                kind=draw.choice([StateType.PENDING, StateType.RUNNING, StateType.FAILED]),
            )
        )
    tree = RunTree(run_id(0))
    for run in draw.sample(runs, len(runs)):
        tree.apply(RunSnapshot(run))
    for step in range(100):
        kind = draw.choice([StateType.RUNNING, StateType.FAILED, StateType.COMPLETED])
        number, attempt = draw.randrange(40), draw.randint(1, 3)
        tree.apply(make_change(number, kind, ordinal=step + 4, attempt=attempt, at_s=step))
    anew = build(tree.node(run_id(0)).run, [node.run for node in tree.nodes()])
    assert tree.counts == anew.counts
    assert +tree.retried == +anew.retried
    for node in tree.nodes():
        same = anew.node(node.run.id)
        assert node.troubled_children == same.troubled_children
        assert {child.run.id for child in node.children} == {c.run.id for c in same.children}
        for key, group in node.groups.items():
            assert {n.run.id for n in group.notable} == {n.run.id for n in same.groups[key].notable}
            assert +group.counts == +same.groups[key].counts
            assert group.started_at == same.groups[key].started_at


def test_a_circle_of_parents_ends_where_it_began():
    """a called b, b called c, c called a, as a faulty client may report; d called itself."""
    a, b, c = (make_run(n, "f", parent=p, is_flow=True) for n, p in ((1, 3), (2, 1), (3, 2)))
    d = make_run(4, "f", parent=4, is_flow=True)
    runs = [a, b, c, d]
    for root in runs[:3]:
        assert {node.run.id for node in build(root, runs).nodes()} == {a.id, b.id, c.id}
    assert [node.run for node in build(d, runs).nodes()] == [d]
    for order in itertools.permutations(runs):
        for root in runs:
            tree = RunTree(root.id)
            for run in order:
                tree.apply(RunSnapshot(run))
            for run, ordinal in itertools.product(order, (4, 5)):
                kind = StateType.FAILED if ordinal == 4 else StateType.RUNNING
                tree.apply(make_change(run.id.int - run_id(0).int, kind, ordinal=ordinal))
            seen = []
            assert tree.root is not None
            waiting = [tree.root]
            while waiting:
                seen.append(waiting.pop())
                waiting += seen[-1].children
            assert len(seen) == (1 if root is d else 3)


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("kind", [StateType.COMPLETED, StateType.FAILED])
def test_a_tree_may_be_ten_thousand_deep(is_reversed, kind):
    runs = make_chain(10_000, kind)
    tree = RunTree(run_id(0))
    for run in reversed(runs) if is_reversed else runs:
        tree.apply(RunSnapshot(run))
    assert tree.root is not None
    assert tree.root.is_troubled
    tree.apply(make_change(9_999, StateType.COMPLETED, ordinal=9, attempt=2))
    assert tree.root.is_troubled is (kind is StateType.FAILED)
    assert len(build(runs[0], runs)) == 10_000


def test_states_are_counted_by_name():
    runs = [make_run(0, "root", is_flow=True)]
    runs += [
        make_run(n, "train", parent=0, state_name="Cached" if n > 7 else "") for n in range(1, 13)
    ]
    tree = build(runs[0], runs)
    assert tree.counts["train"] == {
        (StateType.COMPLETED, "Completed"): 7,
        (StateType.COMPLETED, "Cached"): 5,
    }
