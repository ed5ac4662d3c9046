"""The runs that one program reported, for modules in which each test checks one aspect.

Starting a service and a program takes a second or two. Such a module starts each of them once, and
its tests only read.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support import run_queries as queries
from tests.support.flow_processes import FlowProcess
from tests.support.service import ServiceProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import grpc


class Told:
    """The runs of a service, by the names of flows and tasks.

    Args:
        channel: A channel to the service.
        output: The output of the program.
        address: The address of the service.
    """

    def __init__(self, channel: grpc.Channel, output: str, address: str) -> None:
        self.channel = channel
        self.output = output
        self.address = address
        self.flows = queries.flow_runs(channel)
        self.tasks = queries.task_runs(channel)

    def printed(self, label: str) -> str:
        """Return the rest of the only line that begins with a label and a colon."""
        (line,) = [one for one in self.output.splitlines() if one.startswith(label + ": ")]
        return line.removeprefix(label + ": ")

    def flow(self, name: str) -> Any:
        """Return the only run of a flow."""
        (run,) = [run for run in self.flows if run.flow_name == name]
        return run

    def task(self, name: str) -> Any:
        """Return the only run of a task."""
        (run,) = [run for run in self.tasks if run.task_name == name]
        return run

    def children(self, run: Any) -> list[Any]:
        """Return the runs that a run called: task runs, then flow runs."""
        return [each for each in (*self.tasks, *self.flows) if each.parent_run_id == run.id]

    def history(self, run: Any) -> list[str]:
        """Return the state names of a run's history, after Pending."""
        is_flow = hasattr(run, "flow_name")
        ask = queries.flow_history if is_flow else queries.task_history
        first, *rest = ask(self.channel, run.id)
        assert first == "Pending"
        return rest

    def logs(self, run: Any, logger: str = "") -> list[str]:
        """Return the log messages of a run, of one logger or of all."""
        records = queries.logs(self.channel, run.id)
        return [each.message for each in records if not logger or each.logger == logger]


@contextmanager
def told(
    code: str, *, folder: Path, meanwhile: Callable[[grpc.Channel, FlowProcess], None] | None = None
) -> Iterator[Told]:
    """Run a program on a service of its own; at the end, check every history there.

    Args:
        code: The program; see FlowProcess.
        folder: The folder for the files of both.
        meanwhile: Called while the program runs.
    """
    service = ServiceProcess(home=folder / "service")
    service.start()
    try:
        client = folder / "client"
        with FlowProcess(code, home=client, address=service.address) as process:
            if meanwhile is not None:
                meanwhile(service.channel, process)
            output = process.finish()
        yield Told(service.channel, output, service.address)
        service.check_histories()
    finally:
        service.end()
