"""WatchService: snapshot, mark, changes."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.harness import refused
from tests.support.report_client import ReportStream, created, entered, new_id, whole_run

from flowspan.v1 import flow_run_service_pb2, report_pb2, watch_service_pb2
from flowspan_service.app import feeds, watching
from flowspan_service.stores import run_reads, transitions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import Harness, Stubs


class Watcher:
    """A watch that breaks at random and resumes from the last token.

    It keeps the final view of a user: the runs as the snapshot showed them, and the changes since.
    """

    def __init__(self, stubs: Stubs, run_id: str = "", **fields: Any) -> None:
        self.stubs = stubs
        self.request = watch_service_pb2.WatchRequest(run_id=run_id, **fields)
        self.snapshot: dict[str, Any] = {}
        self.changes: list[watch_service_pb2.Change] = []

    def follow(self, *, breaks_off: random.Random | None = None) -> None:
        """Watch until the service ends the watch."""
        while not self._follow_once(breaks_off):
            pass

    def _follow_once(self, breaks_off: random.Random | None) -> bool:
        call = self.stubs.watch.Watch(self.request)
        for response in call:
            self.take(response)
            # A broken snapshot starts over; only after its end is there a token to resume from.
            if breaks_off and self.request.resume_token and breaks_off.random() < 0.1:
                call.cancel()
                return False
        return True

    def take(self, response: watch_service_pb2.WatchResponse) -> None:
        item = response.WhichOneof("item")
        if item in {"flow_run", "task_run"}:
            run = getattr(response, item)
            assert not self.request.resume_token, (
                "the watch sent a run after the end of the snapshot"
            )
            assert run.id not in self.snapshot
            self.snapshot[run.id] = run
        elif item == "snapshot_end":
            assert response.snapshot_end.run_count == len(self.snapshot)
        elif item != "keep_alive":
            self.changes.append(response.change)
        if response.resume_token:
            self.request.resume_token = response.resume_token

    def until(self, sequence_of_changes: int, call: Iterator[Any]) -> None:
        """Read responses until there are this many changes."""
        while len(self.changes) < sequence_of_changes:
            self.take(next(call))


def check_gapless(watcher: Watcher, histories: dict[str, list[Any]]) -> None:
    """Check that snapshot and changes give the full histories: no gaps, no repeats, in order."""
    seen = {key: run.transition_count for key, run in watcher.snapshot.items()}
    for run_id, run in watcher.snapshot.items():
        last = histories[run_id][run.transition_count - 1]
        assert (run.state, run.attempt) == (last.state, last.attempt)
    positions = [change.transition.position for change in watcher.changes]
    assert positions == sorted(set(positions))
    for change in watcher.changes:
        transition = change.transition
        before = seen.get(transition.run_id, 0)
        assert transition.ordinal == before + 1
        assert transition == histories[transition.run_id][before]
        assert (change.WhichOneof("run") is not None) == (transition.ordinal == 1)
        if transition.ordinal == 1:
            run = getattr(change, change.WhichOneof("run"))
            assert run.id == transition.run_id
            assert (run.state, run.transition_count) == (transition.state, 1)
            assert not run.HasField("start_time")
            assert not run.HasField("end_time")
        seen[transition.run_id] = transition.ordinal
    assert seen == {key: len(history) for key, history in histories.items()}


def history(stubs: Stubs, run_id: str) -> list[Any]:
    request = flow_run_service_pb2.ListFlowRunTransitionsRequest(id=run_id)
    return list(stubs.flow_runs.ListFlowRunTransitions(request).transitions)


def report_a_tree(stream: ReportStream, root: str, chance: random.Random) -> list[str]:
    """Report a flow run with children, in batches of random size; return the ids of its runs."""
    run_ids = [root]
    events: list[report_pb2.Event] = [created(root), entered(root, "RUNNING")]
    running: list[str] = []
    for _ in range(60):
        if chance.random() < 0.5 or not running:
            child = new_id()
            events += [
                created(child, parent_run_id=root, root_run_id=root),
                entered(child, "RUNNING"),
            ]
            run_ids.append(child)
            running.append(child)
        else:
            events.append(entered(running.pop(chance.randrange(len(running))), "COMPLETED"))
    events += [entered(child, "COMPLETED") for child in running]
    events.append(entered(root, "COMPLETED"))
    while events:
        size = chance.randint(1, 8)
        stream.wait_for_ack(stream.report(*events[:size]))
        del events[:size]
    return run_ids


@pytest.mark.parametrize("kept", [1, 5, 2_000], ids=["all late", "some late", "none late"])
@pytest.mark.parametrize("seed", range(4))
def test_promise_watch_is_gapless_and_ordered(
    harness: Harness, stubs: Stubs, seed: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "KEPT_CHANGES", kept)
    chance = random.Random(seed)
    root, noise = new_id(), new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(noise), created(root)))
    stream.next_sequence = 3
    watchers = [Watcher(stubs, root) for _ in range(3)]
    run_ids: list[str] = []

    def go_on() -> None:
        run_ids.extend(report_a_tree(stream, root, chance))

    threads = [threading.Thread(target=go_on)]
    threads += [
        threading.Thread(target=watcher.follow, kwargs={"breaks_off": chance})
        for watcher in watchers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A late watcher gets everything in the snapshot.
    watchers.append(Watcher(stubs, root))
    watchers[-1].follow()
    assert not watchers[-1].changes
    stream.goodbye()
    histories = {run_id: history(stubs, run_id) for run_id in run_ids}
    for watcher in watchers:
        check_gapless(watcher, histories)


def test_promise_watch_snapshot_is_exact_while_runs_change(
    harness: Harness, stubs: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs change between the position of the snapshot and the read of their page."""
    old, changing, new = new_id(), new_id(), new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(
        stream.report(created(old), created(changing), entered(changing, "RUNNING"))
    )
    real_position = harness.store.position

    def position_and_then_something_happens() -> int:
        position = real_position()
        monkeypatch.setattr(harness.store, "position", real_position, raising=False)
        stream.wait_for_ack(
            stream.report(
                entered(changing, "FAILED"),
                entered(changing, "RUNNING", attempt=2),
                *whole_run(new),
            )
        )
        return position

    monkeypatch.setattr(
        harness.store, "position", position_and_then_something_happens, raising=False
    )
    watcher = Watcher(stubs)
    call = stubs.watch.Watch(watcher.request)
    watcher.until(5, call)
    call.cancel()
    stream.report(entered(changing, "COMPLETED"))
    stream.goodbye()
    assert set(watcher.snapshot) == {old, changing}
    shown = watcher.snapshot[changing]
    assert (shown.state.name, shown.attempt, shown.transition_count) == ("Running", 1, 2)
    assert shown.HasField("start_time")
    assert not shown.HasField("end_time")
    check_gapless(
        watcher,
        {
            old: history(stubs, old)[:1],
            changing: history(stubs, changing)[:4],
            new: history(stubs, new),
        },
    )


def test_promise_watch_is_gapless_though_much_else_happened_meanwhile(
    harness: Harness, stubs: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a tree is not taken for seen because a look did not get so far."""
    monkeypatch.setattr(transitions, "SCAN_LIMIT", 5)
    root = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(root)))
    watcher = Watcher(stubs, root)
    call = stubs.watch.Watch(watcher.request)
    while not watcher.request.resume_token:
        watcher.take(next(call))
    call.cancel()
    for _ in range(10):
        stream.report(*whole_run(new_id()))
    stream.report(entered(root, "RUNNING"), entered(root, "COMPLETED"))
    stream.goodbye()
    watcher.follow()
    assert [change.transition.ordinal for change in watcher.changes] == [2, 3]


def test_watching_everything_sees_new_trees(harness: Harness, stubs: Stubs) -> None:
    watcher = Watcher(stubs)
    call = stubs.watch.Watch(watcher.request)
    watcher.take(next(call))
    assert watcher.snapshot == {}
    flow_run, task_run = new_id(), new_id()
    stream = ReportStream(harness.channel)
    stream.report(*whole_run(flow_run), *whole_run(task_run, kind="TASK"))
    stream.goodbye()
    watcher.until(6, call)
    call.cancel()
    kinds = [change.WhichOneof("run") for change in watcher.changes]
    assert kinds == ["flow_run", None, None, "task_run", None, None]


def test_only_flow_runs_if_wanted(harness: Harness, stubs: Stubs) -> None:
    root, task = new_id(), new_id()
    stream = ReportStream(harness.channel)
    below = {"kind": "TASK", "parent_run_id": root, "root_run_id": root}
    stream.wait_for_ack(stream.report(created(root), created(task, **below)))
    watcher = Watcher(stubs, root, flow_runs_only=True)
    call = stubs.watch.Watch(watcher.request)
    while not watcher.request.resume_token:
        watcher.take(next(call))
    stream.report(entered(task, "RUNNING"), entered(task, "COMPLETED"), entered(root, "RUNNING"))
    stream.report(entered(root, "COMPLETED"))
    stream.goodbye()
    for response in call:
        watcher.take(response)
    assert set(watcher.snapshot) == {root}
    assert [change.transition.run_id for change in watcher.changes] == [root, root]


def test_bad_watches_are_refused(harness: Harness, stubs: Stubs) -> None:
    run_id, other = new_id(), new_id()
    stream = ReportStream(harness.channel)
    stream.report(*whole_run(run_id), *whole_run(other))
    stream.goodbye()
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    watcher = Watcher(stubs, run_id)
    watcher.follow()

    def watch(**fields: Any) -> list[Any]:
        return list(stubs.watch.Watch(watch_service_pb2.WatchRequest(**fields)))

    refused(lambda: watch(run_id=new_id()), grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    refused(lambda: watch(run_id="x"), invalid, "INVALID_FIELD")
    refused(lambda: watch(run_id=run_id, resume_token="x"), invalid, "BAD_TOKEN")
    token = watcher.request.resume_token
    refused(lambda: watch(run_id=other, resume_token=token), invalid, "BAD_TOKEN")
    refused(lambda: watch(resume_token=token), invalid, "BAD_TOKEN")
    assert watch(run_id=run_id, resume_token=token) == []


@pytest.mark.parametrize("is_root", [True, False], ids=["tree", "subtree"])
def test_a_snapshot_of_many_pages_is_whole(
    harness: Harness, stubs: Stubs, monkeypatch: pytest.MonkeyPatch, is_root: bool
) -> None:
    monkeypatch.setattr(watching, "SNAPSHOT_PAGE", 3)
    monkeypatch.setattr(run_reads, "ROWS_BUFFERED", 2)
    top, root = new_id(), new_id()
    if is_root:
        top = root
    stream = ReportStream(harness.channel)
    events = [created(top)]
    if not is_root:
        events.append(created(root, parent_run_id=top, root_run_id=top))
    chance = random.Random(1)
    ids = [root]
    for number in range(40):
        run_id = new_id()
        parent = chance.choice(ids)
        kind = "TASK" if number % 3 else "FLOW"
        events.append(created(run_id, kind=kind, parent_run_id=parent, root_run_id=top))
        ids.append(run_id)
    for run_id in chance.sample(ids[1:], 20):
        events += [entered(run_id, "RUNNING"), entered(run_id, "COMPLETED")]
    stream.wait_for_ack(stream.report(*events, created(new_id())))
    call = stubs.watch.Watch(watch_service_pb2.WatchRequest(run_id=root))
    seen: list[str] = []
    for response in call:
        if response.HasField("snapshot_end"):
            break
        seen.append(getattr(response, response.WhichOneof("item")).id)
    call.cancel()
    assert seen == sorted(ids)
    stream.goodbye()


def test_deleting_ends_the_watch(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id)))
    call = stubs.watch.Watch(watch_service_pb2.WatchRequest(run_id=run_id))
    next(call)
    request = flow_run_service_pb2.DeleteFlowRunRequest(id=run_id, force=True)
    stubs.flow_runs.DeleteFlowRun(request)
    refused(lambda: list(call), grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    stream.goodbye()


def test_stopping_ends_the_watch(harness: Harness, stubs: Stubs) -> None:
    call = stubs.watch.Watch(watch_service_pb2.WatchRequest())
    next(call)
    harness.stop_server()
    refused(lambda: list(call), grpc.StatusCode.UNAVAILABLE, "STOPPING")
