"""Acks and commands, as sessions receive them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import report_pb2
from flowspan_service.api import limits
from flowspan_service.api.fields.states import short_verdict_message, verdict_message
from flowspan_service.api.fields.values import brief

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.v1 import verdict_pb2
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.verdicts import Verdict


def acks(up_to_sequence: int, verdicts: list[Verdict]) -> Iterator[report_pb2.Ack]:
    """Spread the verdicts of a commit over acks, none of them much larger than the limit."""
    ack, size = report_pb2.Ack(), 0
    for verdict in verdicts:
        message = verdict_message(verdict)
        size += message.ByteSize()
        if size > limits.MAX_ACK_VERDICTS and ack.verdicts:
            # All events before the next verdict's are decided.
            ack.up_to_sequence = verdict.sequence - 1
            yield ack
            ack, size = report_pb2.Ack(), message.ByteSize()
        ack.verdicts.append(message)
    ack.up_to_sequence = up_to_sequence
    yield ack


def whole_ack(up_to_sequence: int, verdicts: list[Verdict]) -> report_pb2.Ack:
    """Return one ack with all verdicts: complete ones up to the limit, then short ones."""
    return report_pb2.Ack(up_to_sequence=up_to_sequence, verdicts=verdict_messages(verdicts))


def verdict_messages(verdicts: list[Verdict]) -> Iterator[verdict_pb2.Verdict]:
    """Yield the messages of verdicts for one answer: up to the limit complete, then short."""
    size = 0
    for verdict in verdicts:
        if size < limits.MAX_ACK_VERDICTS:
            message = verdict_message(verdict)
            size += message.ByteSize()
        else:
            message = short_verdict_message(verdict)
        yield message


def command_message(command: Command) -> report_pb2.Command:
    """Return the message of a command."""
    return report_pb2.Command(
        id=command.id,
        cancel_run=report_pb2.CancelRun(run_id=command.run_id, reason=brief(command.reason)),
    )
