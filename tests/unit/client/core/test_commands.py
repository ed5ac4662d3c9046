"""Commands of the service: decoding, and delivery to runs of this process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow
from flowspan.core.commands import CANCEL, Command
from flowspan.drivers.cancellation import control
from flowspan.reporter import Reporter, commands
from flowspan.v1 import report_pb2

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

    from flowspan.core.run import Run


class Message:
    """Stands in for a Command message of a newer service."""

    def __init__(self, kind: str | None, value: Any = None) -> None:
        self.id = "c-1"
        self._kind = kind
        if kind is not None:
            setattr(self, kind, value)

    def WhichOneof(self, name: str) -> str | None:  # noqa: N802 - as in Protobuf
        assert name == "command"
        return self._kind


def decode(message: Any) -> Command | None:
    return commands.decode(message)


def test_a_cancel_is_decoded_with_its_reason() -> None:
    message = report_pb2.Command(id="1")
    message.cancel_run.run_id, message.cancel_run.reason = "r", "it is late"
    assert decode(message) == Command(CANCEL, "r", "it is late")


def test_drain_concerns_no_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "flowspan")
    assert decode(report_pb2.Command(drain=report_pb2.Drain())) is None
    assert not caplog.records


@pytest.mark.parametrize("message", [report_pb2.Command(id="c-1"), Message("rewind")])
def test_an_unknown_kind_is_ignored_with_a_debug_log(
    message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "flowspan")
    assert decode(message) is None
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert "c-1" in record.getMessage()


def test_a_made_up_kind_reaches_a_run_of_this_process(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One decoder and one handler are all that a new kind needs."""
    monkeypatch.setitem(commands.DECODERS, "poke", lambda poke: Command("poke", *poke))
    poked: list[tuple[str, Any]] = []

    def poke(run: Run, command: Command) -> bool:
        poked.append((run.record.run_name, command.payload))
        return False

    monkeypatch.setitem(control.HANDLERS, "poke", poke)

    @flow
    def outer() -> int:
        run_id = recorder.run("outer").id
        reporter = Reporter()
        reporter.watch_commands(run_id, recorder.inboxes[run_id])
        command = decode(Message("poke", (run_id, {"times": 2})))
        assert command is not None
        reporter._deliver(command)
        reporter._deliver(Command("poke", "another run"))
        return 1

    assert outer() == 1
    assert poked == [(recorder.run("outer").run_name, {"times": 2})]


def test_a_run_ignores_a_command_without_a_handler(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "flowspan.commands")

    @flow
    def outer() -> int:
        run_id = recorder.run("outer").id
        assert recorder.inboxes[run_id](Command("rewind", run_id)) is False
        return 1

    assert outer() == 1
    assert "rewind" in caplog.text


def test_a_cancel_asks_for_an_interrupt(recorder: Recorder) -> None:
    @flow
    def outer() -> str:
        run_id = recorder.run("outer").id
        assert recorder.inboxes[run_id](Command(CANCEL, run_id, "enough")) is True
        return "returned"

    outer(return_state=True)
    assert recorder.end("outer")[0] in {"CANCELLED", "COMPLETED"}
