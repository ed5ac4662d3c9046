"""The test harness: a service, a home and settings for one block or test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from flowspan.api.client import SyncFlowspanClient
from flowspan.api.models import RunFilter
from flowspan.core.run import current_run
from flowspan.core.states import State
from flowspan.drivers.process import flush_reports, leave_process
from flowspan.exceptions import ConfigError, FlowspanError
from flowspan.testing import settings as overrides
from flowspan.testing.blocks import block
from flowspan.testing.recorded import RecordedRun, last, names_of
from flowspan.testing.services import start_service, stop_service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import TypeAlias
    from uuid import UUID

    from flowspan.drivers.futures.future import TaskFuture
    from flowspan.testing.recorded import Named
    from flowspan.testing.services import Service

    Identified: TypeAlias = State | TaskFuture[Any] | UUID | str

_END = "The test harness in which it started has ended."


class Harness:
    """A service for tests, with access to its recorded runs; created by `flowspan_test_harness`.

    Attributes:
        home: The home folder, which is removed with the harness.
        address: The service's address.
        client: An API client of the service.
    """

    def __init__(self, service: Service) -> None:
        self.home: Path = service.home
        self.address = service.address
        self.process_id = service.process_id
        self._client = SyncFlowspanClient(service.address)

    @property
    def client(self) -> SyncFlowspanClient:
        """An API client. Each access first waits until the reports of this process have arrived."""
        flush_reports()
        return self._client

    @property
    def flow_runs(self) -> list[RecordedRun]:
        """All flow runs including subflows, oldest first."""
        return self.flow_runs_of(None)

    @property
    def task_runs(self) -> list[RecordedRun]:
        """All task runs, oldest first."""
        return self.task_runs_of(None)

    def flow_runs_of(self, flow: Named | None) -> list[RecordedRun]:
        """Return the runs of a flow, given as object or name, oldest first."""
        return self._recorded(self.client.read_flow_runs(_of(flow)))

    def task_runs_of(self, task: Named | None) -> list[RecordedRun]:
        """Return the runs of a task, given as object or name, oldest first."""
        return self._recorded(self.client.read_task_runs(_of(task)))

    def flow_run(self, flow: Named | None = None) -> RecordedRun:
        """Return the latest run of a flow, or of any flow.

        Raises:
            LookupError: There is no such run.
        """
        return last(self.flow_runs_of(flow), flow, [] if flow is None else self.flow_runs)

    def task_run(self, task: Named | None = None) -> RecordedRun:
        """Return the latest run of a task, or of any task.

        Raises:
            LookupError: There is no such run.
        """
        return last(self.task_runs_of(task), task, [] if task is None else self.task_runs)

    def run(self, which: Identified) -> RecordedRun:
        """Return a run by its state (`return_state=True`), future or id.

        Raises:
            ObjectNotFound: The service has no such run.
            ValueError: The state does not belong to a run.
        """
        run_id = which.run_id if isinstance(which, State) else getattr(which, "task_run_id", which)
        if run_id is None:
            raise ValueError(
                f"{which!r} does not belong to a run. Pass a state returned by return_state=True"
            )
        return RecordedRun(self.client, self.client.read_run(str(run_id)))

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def _recorded(self, runs: Any) -> list[RecordedRun]:
        found = sorted(runs, key=lambda run: str(run.id))  # ids are in order of time
        return [RecordedRun(self._client, run) for run in found]

    def __repr__(self) -> str:
        return f"<Harness at {self.address}>"


@block
def flowspan_test_harness(
    settings: Mapping[str, Any] | None = None, *, skip_retry_delays: bool = True
) -> Iterator[Harness]:
    """Provide a flowspan service, a home and settings for the block.

    Everything that starts in the block, in any thread, worker process or subprocess, reports to
    this service. The user's own service, home and settings are not touched. At the end, open
    runs are cancelled, and the service and its home are removed, even if the process is killed.

    Harnesses can be nested; the innermost one is in effect.

    Args:
        settings: Settings by name (see `flowspan config show`), in lower case and without
            FLOWSPAN_. All other settings have their defaults, except that tracing is off
            (``{"tracing": "auto"}`` switches it on).
        skip_retry_delays: True to retry without waiting. The delays are still reported, and count
            toward the timeouts of enclosing runs.

    Yields:
        The harness.

    Raises:
        ConfigError: A setting is unknown or has an invalid value.
        FlowspanError: The call is inside a flow or task, whose run belongs to another service.
        LocalServiceError: The service did not start.
    """
    if (run := current_run.get()) is not None:
        raise FlowspanError(
            f"a harness cannot start inside a run: {run!r} reports to another service. Call the "
            "flow inside the harness."
        )
    wanted = {"tracing": False, "skip_retry_delays": skip_retry_delays, **(settings or {})}
    if taken := {"address", "home"} & wanted.keys():
        what = " and ".join(sorted(taken))
        raise ConfigError(
            f"a harness sets its own service and home. Remove {what} from the settings"
        )
    own = {overrides.variable_of(name): overrides.text_of(value) for name, value in wanted.items()}
    with ExitStack() as stack:
        service = start_service()
        stack.callback(stop_service, service)
        harness = Harness(service)
        stack.callback(harness.close)
        # Deliver earlier reports to their own service before the settings change.
        leave_process()
        here = {"FLOWSPAN_HOME": str(service.home), "FLOWSPAN_ADDRESS": service.address}
        stack.enter_context(overrides.environment({**overrides.cleared(), **own, **here}))
        stack.callback(leave_process, _END)
        yield harness


def _of(function: Named | None) -> RunFilter | None:
    return None if function is None else RunFilter(function_names=names_of(function))
