"""Judges what the peer received: the rules of docs/protocol.md, and the expectations of a case."""

from __future__ import annotations

import uuid
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.conformance.wire.peer import numbered
from tests.support.history import ENDS, FOLLOWS, NOT_TRIED_AGAIN, RETRY_BEGINNINGS

from flowspan.v1 import report_pb2, state_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.conformance.wire.case import Expectation, WireCase
    from tests.conformance.wire.peer import Connection, Peer, Welcomes

FINAL_REASONS = frozenset({"WRONG_SECRET", "INVALID_FIELD", "BAD_SEQUENCE"})
"""Errors after which the session must not connect again. After SESSION_TAKEN_OVER, a client may
take back its session once or twice, but not fight for it: see the case taken_over."""
SECRET_BYTES = range(16, 65)
MAX_LOG_BYTES = 256 << 10
MAX_NAME_BYTES = 256


def judge(case: WireCase, peer: Peer) -> None:
    """Check everything.

    Raises:
        AssertionError: A rule or an expectation is broken; the message says which.
    """
    connections = peer.connections
    assert not peer.problems, peer.problems
    _check_hellos(connections)
    for connection in connections:
        _check_frames(connection, peer.welcomes)
        _check_sequences(connection)
    _check_resent_events(connections)
    _check_end(case.expect, connections)
    _check_reconnects(case.expect, connections)
    _check_silences(case.expect, connections)
    _check_events(peer)
    _check_histories(case.expect, peer)
    if case.expect.logs:
        _check_logs(case, peer)


def _check_hellos(connections: Sequence[Connection]) -> None:
    hellos = []
    for connection in connections:
        kinds = [frame.kind for frame in connection.frames]
        # A call can break before its Hello has arrived.
        assert kinds[:1] in ([], ["hello"]), "the first frame of a connection is not Hello"
        assert kinds.count("hello") <= 1, "a connection has more than one Hello"
        hellos += [frame.message for frame in connection.frames if frame.kind == "hello"]
    assert hellos, "no Hello"
    first = hellos[0]
    assert uuid.UUID(first.session_id).version in {4, 7}, first
    assert len(first.secret) in SECRET_BYTES, "the secret has not 16 to 64 bytes"
    assert first.client_name.startswith("flowspan-"), first
    assert first.client_language, first
    assert first.client_version, first
    assert first.process_id > 0, first
    for hello in hellos:
        assert hello.session_id == first.session_id, "the session id changed"
        assert hello.secret == first.secret, "the secret changed"
        assert hello.HasField("client_time"), "Hello has no client_time"
        assert not hello.recovering, "a live client must not be recovering"
    acked = 0
    for connection in connections:
        # A connection that was cut early has no Hello.
        for hello in (frame.message for frame in connection.frames if frame.kind == "hello"):
            assert hello.acked_sequence <= acked, "acked_sequence is beyond the acks that were sent"
        acked = max(acked, connection.acked)


def _check_frames(connection: Connection, welcomes: Welcomes) -> None:
    welcomed = False
    for frame in connection.frames:
        if frame.kind == "hello":
            welcomed = True
            continue
        assert welcomed, f"{frame.kind} came before Hello"
        assert connection.is_welcomed, f"{frame.kind} came before Welcome"
        assert frame.kind in {"batch", "heartbeat", "goodbye"}, f"a strange frame: {frame.kind!r}"
        limit = welcomes.max_frame_bytes or welcomes.max_batch_bytes
        assert frame.size <= limit, f"a frame has {frame.size} bytes; {limit} are allowed"
        if frame.kind == "batch":
            assert frame.message.events, "a batch is empty"
            last = max(sequence for sequence, _ in numbered(frame.message))
            in_flight = last - max(frame.acked, connection.resume_after)
            assert in_flight <= welcomes.max_unacked_events, (
                f"{in_flight} events are in flight; {welcomes.max_unacked_events} are allowed"
            )
            if "run_completed.v1" not in welcomes.capabilities:
                assert not any(each.HasField("run_completed") for each in frame.message.events), (
                    "a short run was sent to a service that does not know it"
                )


def _check_sequences(connection: Connection) -> None:
    """Check that the batches continue after Welcome without a gap or a repetition.

    The first batch may begin with stored events, because a batch can be resent as a whole. But it
    must have a new one.
    """
    expected = connection.resume_after + 1
    is_first = True
    for frame in connection.frames:
        if frame.kind != "batch":
            continue
        first = frame.message.first_sequence
        last = max(sequence for sequence, _ in numbered(frame.message))
        assert first == expected or (is_first and first < expected <= last), (
            f"a batch has {first} to {last}, and should begin with {expected}, "
            f"on connection {connection.index + 1}"
        )
        is_first, expected = False, last + 1


def _check_resent_events(connections: Sequence[Connection]) -> None:
    """Check that a sequence names the same event whenever it is sent."""
    sent: dict[int, Any] = {}
    for connection in connections:
        for frame in connection.frames:
            if frame.kind == "batch":
                for sequence, event in numbered(frame.message):
                    before = sent.setdefault(sequence, event)
                    assert _plain(before) == _plain(event), (
                        f"event {sequence} was resent with other content:\n{before}\n{event}"
                    )


def _plain(event: report_pb2.Event) -> report_pb2.Event:
    """Return the event with what may be left out filled in."""
    plain = report_pb2.Event()
    plain.CopyFrom(event)
    if plain.HasField("state_entered"):
        plain.state_entered.attempt = plain.state_entered.attempt or 1
        plain.state_entered.state.name = state_name(plain.state_entered.state)
    return plain


def _check_end(expect: Expectation, connections: Sequence[Connection]) -> None:
    goodbyes = [
        (connection, index)
        for connection in connections
        for index, frame in enumerate(connection.frames)
        if frame.kind == "goodbye"
    ]
    assert len(goodbyes) == int(expect.goodbye), (
        f"{len(goodbyes)} times Goodbye instead of {int(expect.goodbye)}"
    )
    for connection, index in goodbyes:
        assert index == len(connection.frames) - 1, "a frame follows Goodbye"
        assert connection is connections[-1], "a connection follows Goodbye"


def _check_reconnects(expect: Expectation, connections: Sequence[Connection]) -> None:
    least, most = (
        (expect.connections, expect.connections)
        if isinstance(expect.connections, int)
        else expect.connections
    )
    assert least <= len(connections) <= most, f"{len(connections)} connections"
    for connection in connections[:-1]:
        assert connection.ended_by_peer not in FINAL_REASONS, (
            f"the client came back after {connection.ended_by_peer}"
        )
    for before, after in pairwise(connections):
        assert before.ended_at is not None, "two connections of a session at a time"
        assert after.began_at >= before.ended_at - 0.05, "two connections of a session at a time"
    pauses = [
        after.began_at - (before.ended_at or after.began_at)
        for before, after in pairwise(connections)
    ]
    for pause, (shortest, longest) in zip(pauses, expect.pauses_s, strict=False):
        assert shortest <= pause <= longest, f"pauses of {pauses} s, not as {expect.pauses_s}"


def _check_silences(expect: Expectation, connections: Sequence[Connection]) -> None:
    count = sum(frame.kind == "heartbeat" for each in connections for frame in each.frames)
    assert count >= expect.heartbeats, f"{count} heartbeats instead of {expect.heartbeats}"
    if expect.longest_silence_s is not None:
        for connection in connections:
            for before, after in pairwise(connection.frames):
                silence = after.at - before.at
                assert silence <= expect.longest_silence_s, f"{silence:.2f} s without a frame"


def _check_events(peer: Peer) -> None:
    """Check the bounds of events, and the order of the events of each run."""
    created: set[str] = set()
    for event in peer.events.values():
        kind = event.WhichOneof("event")
        assert kind is not None, "an event has no content"
        if kind == "run_created":
            assert event.run_created.run_id not in created, "a run was created twice"
            created.add(event.run_created.run_id)
            assert uuid.UUID(event.run_created.run_id).version == 7, "a run id is no UUIDv7"
            assert len(event.run_created.function_name.encode()) <= MAX_NAME_BYTES
            parent = event.run_created.parent_run_id
            assert not parent or parent in created, "a run was created before its parent"
        elif kind in {"state_entered", "log"}:
            run_id = getattr(event, kind).run_id
            assert run_id in created, f"{kind} of a run that was not created"
        if kind == "log":
            assert len(event.log.message.encode()) <= MAX_LOG_BYTES, "a log record is too long"
            assert event.log.time.seconds, "a log record has no time"


def histories(peer: Peer) -> dict[str, list[tuple[int, state_pb2.State]]]:
    """Return the states of each run with their attempts, by the name of its flow or task.

    Several runs of a name are numbered: "fetch", "fetch 2".
    """
    names: dict[str, str] = {}
    found: dict[str, list[tuple[int, state_pb2.State]]] = {}
    for event in peer.events.values():
        if event.HasField("run_created"):
            name, number = event.run_created.function_name, 2
            while name in found:
                name, number = f"{event.run_created.function_name} {number}", number + 1
            names[event.run_created.run_id] = name
            found[name] = [(1, event.run_created.state)]
        elif event.HasField("state_entered"):
            entered = event.state_entered
            found[names[entered.run_id]].append((entered.attempt or 1, entered.state))
    return found


def type_name(state: state_pb2.State) -> str:
    """Return the name of the type of a state, such as RUNNING."""
    return state_pb2.StateType.Name(state.type).removeprefix("STATE_TYPE_")


def state_name(state: state_pb2.State) -> str:
    """Return the name of a state: that of its type if it has none."""
    return state.name or type_name(state).capitalize()


def _check_histories(expect: Expectation, peer: Peer) -> None:
    found = histories(peer)
    for name, states in found.items():
        told = f"{name}: {[(attempt, state_name(state)) for attempt, state in states]}"
        assert type_name(states[0][1]) in {"SCHEDULED", "PENDING"}, told
        for (old_attempt, old), (attempt, new) in pairwise(states):
            if attempt == old_attempt:
                assert type_name(new) in FOLLOWS[type_name(old)].split(), told
            else:
                assert attempt == old_attempt + 1, told
                assert type_name(new) in RETRY_BEGINNINGS.split(), told
                assert type_name(old) not in NOT_TRIED_AGAIN.split(), told
        for attempt in {attempt for attempt, _ in states}:
            ends = [state for each, state in states if each == attempt and _is_end(state)]
            assert len(ends) <= 1, told
    told_names = {
        name: " ".join(state_name(state) for _, state in states) for name, states in found.items()
    }
    for name, history in expect.histories.items():
        assert told_names.get(name) == history, f"{name}: {told_names}"
    for name in expect.unwanted:
        assert name not in found, f"{name} was reported: {told_names}"


def _is_end(state: state_pb2.State) -> bool:
    return type_name(state) in ENDS.split()


def _check_logs(case: WireCase, peer: Peer) -> None:
    """Check that every text that the bodies log has arrived, whole and in order."""
    logged = whole_messages(peer)
    for step in case.steps:
        for name, texts in _texts(step.get("start", {})):
            found = [text for owner, text in logged if owner == name and text in set(texts)]
            assert found == texts, _difference(name, texts, [t for o, t in logged if o == name])
    pieces = max((event.log.chunk_count for event in peer.events.values()), default=0)
    assert pieces >= case.expect.chunked, f"the longest message has {pieces} pieces"


def _difference(name: str, texts: list[str], found: list[str]) -> str:
    missing = [text[:80] for text in texts if text not in set(found)]
    return f"{name} logged {len(texts)} texts; of {len(found)}, {missing[:5]} are missing or moved"


def _texts(operation: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield what the bodies log, by the name of the flow or task."""
    name = operation.get("flow") or operation.get("task")
    own: list[str] = []
    for each in operation.get("body", []):
        if "log" in each:
            text = (each["log"] * each.get("repeat", 1)).replace("\0", "␀")
            times = each.get("times")
            own += [text] if times is None else [f"{text} {number}" for number in range(times)]
        for nested in [each, *each.get("parallel", [])]:
            if "body" in nested:
                yield from _texts(nested)
    if name:
        yield name, own


def whole_messages(peer: Peer) -> list[tuple[str, str]]:
    """Return the log messages in order, joined from their pieces, with the names of their runs.

    Raises:
        AssertionError: The pieces of a message are not complete or not in order.
    """
    names: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    open_pieces: dict[tuple[str, str, int, int], list[str]] = {}
    for event in peer.events.values():
        if event.HasField("run_created"):
            names[event.run_created.run_id] = event.run_created.function_name
        if not event.HasField("log"):
            continue
        record = event.log
        name = names[record.run_id]
        text = record.message.replace("\0", "␀")
        if record.chunk_count <= 1:
            found.append((name, text))
            continue
        key = (record.run_id, record.logger, record.time.ToNanoseconds(), record.chunk_count)
        pieces = open_pieces.setdefault(key, [])
        assert record.chunk_index == len(pieces), "the pieces of a message are out of order"
        pieces.append(text)
        if len(pieces) == record.chunk_count:
            found.append((name, "".join(open_pieces.pop(key))))
    assert not open_pieces, "a message is not complete"
    return found
