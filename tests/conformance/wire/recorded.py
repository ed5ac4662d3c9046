"""The frames that the service of a release sent, with the sequences and ids of a test."""

from __future__ import annotations

from tests.conformance.wire.peer import Welcomes
from tests.data.protocol.reports import ANSWERED, load

from flowspan.v1 import report_pb2, report_service_pb2, system_service_pb2


class RecordedFrames:
    """The frames of a service.

    Args:
        release: The version of the service, such as "0.1.0".

    Attributes:
        info: Its answer to GetInfo.
    """

    def __init__(self, release: str) -> None:
        recordings = load(release).values()
        self.info = system_service_pb2.GetInfoResponse.FromString(next(iter(recordings)).info)
        self._frames: dict[str, report_service_pb2.ReportResponse] = {}
        for recording in recordings:
            for direction, data in recording.frames:
                if direction == ANSWERED:
                    frame = report_service_pb2.ReportResponse.FromString(data)
                    self._frames.setdefault(_kind(frame), frame)

    @property
    def welcomes(self) -> Welcomes:
        """The limits in its Welcome."""
        welcome = self._frames["welcome"].welcome
        return Welcomes(
            lease_s=welcome.lease.ToMilliseconds() / 1000,
            grace_s=welcome.reconnect_grace.ToMilliseconds() / 1000,
            max_frame_bytes=welcome.max_frame_bytes,
            max_batch_bytes=welcome.max_batch_bytes,
            max_unacked_events=welcome.max_unacked_events,
            capabilities=tuple(welcome.capabilities),
        )

    def like(
        self, response: report_service_pb2.ReportResponse
    ) -> report_service_pb2.ReportResponse:
        """Return the recorded frame of the same kind, with what belongs to this test."""
        kind = _kind(response)
        found = report_service_pb2.ReportResponse()
        found.CopyFrom(self._frames[kind])
        if kind == "welcome":
            found.welcome.resume_after = response.welcome.resume_after
            found.welcome.server_time.CopyFrom(response.welcome.server_time)
        elif kind == "ack":
            found.ack.CopyFrom(
                report_pb2.Ack(
                    up_to_sequence=response.ack.up_to_sequence, verdicts=response.ack.verdicts
                )
            )
        else:
            found.command.id = response.command.id
            if kind == "cancel_run":
                found.command.cancel_run.run_id = response.command.cancel_run.run_id
        return found


def _kind(response: report_service_pb2.ReportResponse) -> str:
    frame = response.WhichOneof("frame") or ""
    return response.command.WhichOneof("command") or "" if frame == "command" else frame
