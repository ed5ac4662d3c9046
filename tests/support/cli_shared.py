"""A shared service with a run in it for command tests, and checks of error output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.cli_commands import sample
from tests.support.report_client import Reporter
from tests.support.service import ServiceProcess

from flowspan import get_client

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Outcome

BAD_BYTES = "caf\udce9"
"""Python's representation of an argument that is not UTF-8."""
HUGE = "9" * 400


class Shared:
    """A service with a run in it, for read-only tests."""

    def __init__(self, home: Path) -> None:
        self.service = ServiceProcess(home=home)
        self.service.start()
        reporter = Reporter(self.service.channel)
        self.run = reporter.flow_run("etl", "brave-otter")
        reporter.state(self.run, "RUNNING")
        self.task = reporter.task_run("load", "load-0", parent=self.run)
        reporter.completed(self.task)
        for number in range(2000):
            reporter.log(self.run, f"line {number}")
        reporter.state(self.run, "COMPLETED")
        reporter.finish()
        with get_client(sync_client=True, address=self.service.address) as client:
            client.create_artifact("markdown", "# Title", key="report")
            client.set_variable("limit", 5)

    def line(self, path: str) -> tuple[str, ...]:
        return sample(path, run=self.run, task=self.task)


def assert_clear(outcome: Outcome, code: int) -> None:
    """Check for a one-line error, perhaps with lines of help, and an empty stdout."""
    assert outcome.code == code, outcome
    assert outcome.err.startswith("Error: "), outcome
    assert "Traceback" not in outcome.err
    assert "unexpected" not in outcome.err
    assert outcome.out == ""
