"""Recorded clients of each release against the service of today: it has the same histories.

The wire tier has the opposite: the recorded frames of each service against the clients of today.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.conformance.wire.peer import numbered
from tests.data.protocol.reports import (
    REPORT,
    SENT,
    Recording,
    cancel,
    histories,
    load,
    releases,
)

from flowspan.v1 import report_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.service import ServiceProcess

WAIT_S = 60.0
PROGRAMS = [(release, name) for release in releases() for name in load(release)]


class RecordedClient:
    """A connection over which recorded frames are sent."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._answers: list[report_service_pb2.ReportResponse] = []
        self._news = threading.Condition()
        self._sent_up_to = 0
        self._has_ended = False
        self._call = channel.stream_stream(REPORT)(iter(self._frames.get, None))
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, data: bytes) -> None:
        """Send a frame."""
        request = report_service_pb2.ReportRequest.FromString(data)
        for sequence, _ in numbered(request.batch):
            self._sent_up_to = max(self._sent_up_to, sequence)
        self._frames.put(data)

    def await_acks(self) -> None:
        """Wait until the service has stored what was sent."""
        self._wait_for(lambda frame: frame.ack.up_to_sequence >= self._sent_up_to, "the last ack")

    def await_cancel(self, run_id: str) -> None:
        """Wait for the command to cancel a run."""
        self._wait_for(lambda frame: frame.command.cancel_run.run_id == run_id, "the command")

    def end(self) -> None:
        """End the call, and wait until the service has ended it."""
        if self._sent_up_to:
            self.await_acks()
        self._frames.put(None)
        self._wait_for(lambda _: self._has_ended, "the end")
        assert self._call.code() == grpc.StatusCode.OK, self._call.details()

    def _wait_for(self, is_found, what: str) -> None:
        with self._news:
            found = self._news.wait_for(
                lambda: self._has_ended or any(map(is_found, self._answers)), WAIT_S
            )
            assert found, f"{what} did not come"
            assert any(map(is_found, self._answers)), f"the call ended before {what}"

    def _read(self) -> None:
        try:
            for data in self._call:
                with self._news:
                    self._answers.append(report_service_pb2.ReportResponse.FromString(data))
                    self._news.notify_all()
        except grpc.RpcError:
            pass  # `end` looks at the code
        with self._news:
            self._has_ended = True
            self._news.notify_all()


def streams(recording: Recording) -> Iterator[list[tuple[str, bytes]]]:
    """Yield the frames of each stream, which a Hello begins."""
    frames: list[tuple[str, bytes]] = []
    for direction, data in recording.frames:
        is_hello = direction == SENT and report_service_pb2.ReportRequest.FromString(data).HasField(
            "hello"
        )
        if is_hello and frames:
            yield frames
            frames = []
        frames.append((direction, data))
    yield frames


def play(frames: list[tuple[str, bytes]], channel: grpc.Channel) -> None:
    """Send the frames of a client; ask for the recorded cancellations at the same points."""
    client = RecordedClient(channel)
    cancelled: set[str] = set()
    for direction, data in frames:
        if direction == SENT:
            client.send(data)
            continue
        command = report_service_pb2.ReportResponse.FromString(data).command
        if command.HasField("cancel_run") and command.cancel_run.run_id not in cancelled:
            run_id = command.cancel_run.run_id
            cancelled.add(run_id)
            client.await_acks()
            cancel(channel, run_id)
            client.await_cancel(run_id)
    client.end()


def test_every_release_is_recorded() -> None:
    assert "0.1.0" in releases()


@pytest.mark.parametrize(("release", "program"), PROGRAMS)
def test_service_has_the_histories_of_a_release(
    release: str, program: str, service: ServiceProcess
) -> None:
    recording = load(release)[program]
    for frames in streams(recording):
        play(frames, service.channel)
    assert histories(service.channel) == recording.histories
