"""A session that began with a secret accepts only clients that know the secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.harness import GRACE_S, LEASE_S, Stubs, refused
from tests.support.report_client import ReportStream, created, entered, new_id, whole_run
from tests.support.run_queries import flow_history, flow_runs, wait_until

from flowspan.v1 import report_pb2, report_service_pb2
from flowspan_service.app import reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.harness import Harness

SECRET = bytes(range(16))
OTHERS = [b"", bytes(16), SECRET + b"\0", SECRET[::-1], bytes(64)]
OTHER_IDS = ["none", "zeros", "longer", "reversed", "longest"]


class Victim:
    """A process with an open run."""

    def __init__(self, harness: Harness, *, secret: bytes = SECRET) -> None:
        self.harness = harness
        self.secret = secret
        self.run_id = new_id()
        self.stream = ReportStream(harness.channel, secret=secret)
        self.session_id = self.stream.session_id
        last = self.stream.report(created(self.run_id), entered(self.run_id, "RUNNING"))
        self.stream.wait_for_ack(last)

    def loses_its_connection(self) -> None:
        self.stream.break_off()
        wait_until(lambda: not self.harness.connected(), "the end of the connection to be seen")
        self.harness.wait_for_store()

    def comes_back(self) -> None:
        self.stream = ReportStream(
            self.harness.channel, session_id=self.session_id, secret=self.secret
        )
        assert self.stream.welcome.resume_after == 2

    def ends(self, *, after: str = "Running") -> None:
        """Report the end of its run, which the attacks try to suppress."""
        self.stream.wait_for_ack(self.stream.report(entered(self.run_id, "COMPLETED")))
        assert not self.stream.verdicts
        self.stream.goodbye()
        history = flow_history(self.harness.channel, self.run_id)
        assert history[-2:] == [after, "Completed"]


def batch_call(
    harness: Harness, session_id: str, secret: bytes, *, first: int = 3, goodbye: bool = False
) -> Callable[[], report_service_pb2.ReportBatchResponse]:
    """Return the call of an attacker who knows the session's id."""
    request = report_service_pb2.ReportBatchRequest(
        hello=report_pb2.Hello(session_id=session_id, secret=secret),
        batch=report_pb2.Batch(first_sequence=first, events=[created(new_id())] * 1000),
        goodbye=goodbye,
    )
    return lambda: Stubs(harness.channel).reports.ReportBatch(request)


def is_refused(call: Callable[[], object], session_id: str) -> None:
    metadata = refused(call, grpc.StatusCode.PERMISSION_DENIED, "WRONG_SECRET")
    assert metadata["session_id"] == session_id
    assert metadata["advice"]


def attack(harness: Harness, session_id: str, secret: bytes) -> None:
    """Try each way into a session."""
    stored = harness.session(session_id)
    for goodbye in (False, True):
        is_refused(batch_call(harness, session_id, secret, goodbye=goodbye), session_id)
    for recovering in (False, True):
        hello = {"secret": secret, "recovering": recovering}
        is_refused(
            lambda hello=hello: ReportStream(harness.channel, session_id=session_id, **hello),
            session_id,
        )
    harness.wait_for_store()
    assert harness.session(session_id) == stored


@pytest.mark.parametrize("secret", OTHERS, ids=OTHER_IDS)
def test_promise_forged_reports_change_nothing(harness: Harness, secret: bytes) -> None:
    victim = Victim(harness)
    attack(harness, victim.session_id, secret)
    assert [run.id for run in flow_runs(harness.channel)] == [victim.run_id]
    victim.ends()


def test_promise_forged_reports_between_connections(harness: Harness) -> None:
    victim = Victim(harness)
    victim.loses_its_connection()
    attack(harness, victim.session_id, b"")
    victim.comes_back()
    attack(harness, victim.session_id, bytes(16))
    victim.ends()


def test_promise_forged_signs_of_life_are_none(harness: Harness) -> None:
    """A stranger can neither keep a dead process alive nor let a living one die."""
    victim = Victim(harness)
    victim.loses_its_connection()
    lost = harness.pass_time(GRACE_S - 2)
    attack(harness, victim.session_id, b"")
    lost += harness.pass_time(3)
    assert lost == [victim.session_id]
    attack(harness, victim.session_id, b"")
    victim.comes_back()  # Lost and back, the session still belongs to its process.
    victim.ends(after="Crashed")
    attack(harness, victim.session_id, b"")  # The same holds after its Goodbye.


def test_lost_welcome_leaves_the_session_to_its_process(harness: Harness) -> None:
    session_id = new_id()
    hello = report_pb2.Hello(session_id=session_id, secret=SECRET)
    # Committed but never answered: to the store, a lost answer looks like this call.
    call = Stubs(harness.channel).reports.Report(
        iter([report_service_pb2.ReportRequest(hello=hello)])
    )
    assert next(call).welcome.resume_after == 0
    call.cancel()
    is_refused(batch_call(harness, session_id, b"", first=1), session_id)
    stream = ReportStream(harness.channel, session_id=session_id, secret=SECRET)
    stream.wait_for_ack(stream.report(*whole_run(new_id())))
    stream.goodbye()


def test_batch_by_batch_with_a_secret(harness: Harness) -> None:
    session_id, run_id = new_id(), new_id()
    stub = Stubs(harness.channel).reports
    hello = report_pb2.Hello(session_id=session_id, secret=SECRET)
    for sequence, event in enumerate(whole_run(run_id), 1):
        batch = report_pb2.Batch(first_sequence=sequence, events=[event])
        answer = stub.ReportBatch(report_service_pb2.ReportBatchRequest(hello=hello, batch=batch))
        assert answer.ack.up_to_sequence == sequence
        attack(harness, session_id, b"")
    assert flow_history(harness.channel, run_id) == ["Pending", "Running", "Completed"]
    stub.ReportBatch(report_service_pb2.ReportBatchRequest(hello=hello, goodbye=True))


def test_session_of_an_older_client_works_as_before(harness: Harness) -> None:
    victim = Victim(harness, secret=b"")
    # A stranger cannot lock it out by showing a secret that the session does not have.
    stranger = ReportStream(harness.channel, session_id=victim.session_id, secret=SECRET)
    assert stranger.welcome.resume_after == 2
    victim.comes_back()
    victim.ends()


@pytest.mark.parametrize("size", [1, 15, 65, 10_000])
def test_secret_of_another_size_is_refused(harness: Harness, size: int) -> None:
    metadata = refused(
        lambda: ReportStream(harness.channel, secret=bytes(size)),
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELD",
    )
    assert metadata["field"] == "hello.secret"
    refused(
        batch_call(harness, new_id(), bytes(size), first=1),
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELD",
    )


def test_secret_is_not_stored(harness: Harness) -> None:
    secret = b"a secret of some length"
    victim = Victim(harness, secret=secret)
    session = harness.session(victim.session_id)
    assert session.secret_hash is not None
    assert secret not in session.secret_hash
    assert "secret" not in repr(session)
    assert harness.pass_time(LEASE_S / 3) == []
    victim.ends()


@pytest.mark.parametrize("first", [1, 2, 3])
def test_no_piece_of_a_large_forged_batch_is_stored(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """Its second piece would begin where the session's events end."""
    monkeypatch.setattr(reports, "PIECE_EVENTS", 3 - first or 1)
    victim = Victim(harness)
    victim.loses_its_connection()
    is_refused(batch_call(harness, victim.session_id, b"", first=first), victim.session_id)
    victim.comes_back()
    victim.ends()
