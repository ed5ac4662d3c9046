"""Runs a case of the wire tier with the driver of a language, and judges it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.conformance.driver import Driver
from tests.conformance.wire.judge import judge
from tests.conformance.wire.peer import Peer
from tests.conformance.wire.recorded import RecordedFrames
from tests.support.proxy import Proxy

from flowspan.v1 import report_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.languages import Language
    from tests.conformance.wire.case import WireCase


def run_case(case: WireCase, language: Language, folder: Path) -> None:
    """Run a case.

    Raises:
        AssertionError: The client did not behave as the case and the protocol demand.
    """
    with ExitStack() as stack:
        recorded = RecordedFrames(case.release) if case.release else None
        peer = stack.enter_context(Peer(case.welcome, case.connections, recorded))
        address = peer.address
        proxy = None
        if any(each.cut_after_bytes is not None for each in case.connections):
            proxy = stack.enter_context(Proxy(peer.address))
            cuts = [each.cut_after_bytes for each in case.connections]
            proxy.cut_after = lambda: cuts.pop(0) if cuts else None
            address = proxy.address
        driver = stack.enter_context(
            Driver(language, home=folder / "client", address=address, env=case.env)
        )
        steps = Steps(peer, driver)
        try:
            for step in case.steps:
                steps.perform(step)
            driver.close()
            judge(case, peer)
        except AssertionError as error:
            error.add_note(f"{case.name}: {case.words}\n{driver.errors}\n{describe(peer)}")
            raise


class Steps:
    """The steps of a case: each is a mapping with one key, the name of a method."""

    def __init__(self, peer: Peer, driver: Driver) -> None:
        self._peer = peer
        self._driver = driver

    def perform(self, step: dict[str, Any]) -> None:
        """Perform a step."""
        ((name, value),) = step.items()
        getattr(self, name)(value)

    def start(self, flow: dict[str, Any]) -> None:
        """Start a flow in the background."""
        self._driver.start(flow)

    def finish(self, states: dict[str, str]) -> None:
        """Wait for the end of flows; compare the types of their last states."""
        found = {flow: self._driver.finish(flow)["state"] for flow in states}
        assert found == states

    def open(self, gate: str) -> None:
        """Open a gate."""
        self._driver.open(gate)

    def await_mark(self, mark: str) -> None:
        """Wait until a body has come to a mark."""
        self._driver.await_mark(mark)

    def await_run(self, name: str) -> None:
        """Wait until the run of a flow or task is reported."""
        self._peer.run_id(name)

    def await_running(self, name: str) -> None:
        """Wait until the run of a flow or task is reported as RUNNING."""
        run_id = self._peer.run_id(name)
        self._peer.wait_until(
            lambda: any(
                event.state_entered.run_id == run_id for event in self._peer.events.values()
            ),
            f"{name} to run",
        )

    def await_connections(self, number: int) -> None:
        """Wait for a number of calls, whether they were welcomed or not."""
        self._peer.wait_until(
            lambda: len(self._peer.connections) >= number, f"{number} connections"
        )

    def await_heartbeats(self, number: int) -> None:
        """Wait for a number of heartbeats on the current connection."""
        frames = self._peer.current().frames
        self._peer.wait_until(
            lambda: sum(frame.kind == "heartbeat" for frame in frames) >= number,
            f"{number} heartbeats",
        )

    def await_welcome(self, number: int) -> None:
        """Wait until a connection, counted from 1, is welcomed."""
        self._peer.wait_until(
            lambda: (
                len(self._peer.connections) >= number
                and self._peer.connections[number - 1].is_welcomed
            ),
            f"connection {number}",
        )

    def cancel(self, command: dict[str, Any]) -> None:
        """Send the command to cancel a run, `times` with the same id."""
        cancel = report_pb2.CancelRun(
            run_id=self._peer.run_id(command["run"]), reason=command.get("reason", "on request")
        )
        for _ in range(command.get("times", 1)):
            self._peer.current().command(command.get("id", "cancel-1"), cancel_run=cancel)

    def cancel_unknown(self, run_id: str) -> None:
        """Send the command to cancel a run that the client does not have."""
        cancel = report_pb2.CancelRun(run_id=run_id)
        self._peer.current().command("cancel-unknown", cancel_run=cancel)

    def drain(self, error: dict[str, Any]) -> None:
        """Send Drain, and then end the call."""
        connection = self._peer.current()
        connection.command("drain-1", drain=report_pb2.Drain())
        connection.end(error)

    def end(self, error: dict[str, Any]) -> None:
        """End the call with an error."""
        self._peer.current().end(error)

    def sleep_s(self, seconds: float) -> None:
        """Let time pass in which nothing may happen."""
        time.sleep(seconds)


def describe(peer: Peer) -> str:
    """Describe the frames that the peer received, one connection a paragraph."""
    lines = []
    start = min((each.began_at for each in peer.connections), default=0.0)
    for connection in peer.connections:
        lines.append(
            f"connection {connection.index + 1} at {connection.began_at - start:.3f} s, "
            f"resume after {connection.resume_after}, ended by the peer: "
            f"{connection.ended_by_peer or 'no'}"
        )
        for frame in connection.frames[-40:]:
            about = ""
            if frame.kind == "batch":
                about = f" from {frame.message.first_sequence}, {len(frame.message.events)} events"
            lines.append(f"  {frame.at - start:.3f} s {frame.kind}{about}, {frame.size} bytes")
    return "\n".join(lines)
