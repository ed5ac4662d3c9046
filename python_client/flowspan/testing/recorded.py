"""Runs as recorded by the service, with properties for concise assertions in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.api.models import (
    Artifact,
    ArtifactFilter,
    FlowRun,
    LogRecord,
    RunFilter,
    State,
    TaskRun,
    Transition,
)

if TYPE_CHECKING:
    from uuid import UUID

    from flowspan.api.client import SyncFlowspanClient
    from flowspan.decorated import Decorated

    Named = Decorated[..., Any] | str


class RecordedRun:
    """A run recorded by the service. Properties that can change are read again on each access.

    Args:
        client: The client to read with.
        run: The run as it was found.
    """

    def __init__(self, client: SyncFlowspanClient, run: FlowRun | TaskRun) -> None:
        self._client = client
        self._run = run

    @property
    def record(self) -> FlowRun | TaskRun:
        """The run as returned by the API client."""
        read: Any = self._client.read_flow_run if self.is_flow else self._client.read_task_run
        run: FlowRun | TaskRun = read(self._run.id)
        return run

    @property
    def is_flow(self) -> bool:
        """True if it is a flow run."""
        return isinstance(self._run, FlowRun)

    @property
    def id(self) -> UUID:
        """The id of the run."""
        return self._run.id

    @property
    def name(self) -> str:
        """The name of the run."""
        return self._run.name

    @property
    def function_name(self) -> str:
        """The name of the flow or task."""
        return self._run.function_name

    @property
    def tags(self) -> list[str]:
        """The tags of the run."""
        return list(self._run.tags)

    @property
    def parameters(self) -> dict[str, Any]:
        """The reported arguments of a flow run; empty for a task run."""
        encoded = self._run.parameters if isinstance(self._run, FlowRun) else None
        return {} if encoded is None else dict(encoded.json())

    @property
    def state(self) -> State:
        """The current state, with `name`, `message` and `failure`."""
        return self.record.state

    @property
    def attempts(self) -> int:
        """The number of attempts."""
        return self.record.attempt

    @property
    def history(self) -> list[Transition]:
        """All transitions, in order."""
        client = self._client
        read: Any = (
            client.read_flow_run_transitions if self.is_flow else client.read_task_run_transitions
        )
        return list(read(self.id))

    @property
    def states(self) -> list[str]:
        """The names of all entered states, in order: ["Pending", "Running", "Completed"]."""
        return [transition.state.name for transition in self.history]

    @property
    def retry_delays(self) -> list[float]:
        """The reported delays before retries, in seconds, even if they were skipped."""
        return [
            (each.state.scheduled_at - each.state.entered_at).total_seconds()
            for each in self.history
            if each.state.scheduled_at is not None and each.state.entered_at is not None
        ]

    @property
    def log_records(self) -> list[LogRecord]:
        """The log records of the run and its descendants, in order."""
        return list(self._client.read_logs(self.id, include_descendants=True))

    @property
    def logs(self) -> list[str]:
        """The log messages of the run and its descendants, in order."""
        return [record.message for record in self.log_records]

    @property
    def artifacts(self) -> list[Artifact]:
        """The artifacts of the run and its descendants, oldest first."""
        mine = ArtifactFilter(run_id=self.id, include_descendants=True)
        return list(self._client.read_artifacts(mine, oldest_first=True))

    def artifact(self, key: str) -> Any:
        """Return the decoded content of the latest of these artifacts with a key.

        Raises:
            LookupError: There is no such artifact.
        """
        found = [each for each in self.artifacts if each.key == key]
        if not found:
            keys = ", ".join(sorted({each.key for each in self.artifacts if each.key})) or "none"
            raise LookupError(f"run {self.name!r} has no artifact {key!r}; its keys: {keys}")
        data = found[-1].data
        return None if data is None else data.json()

    @property
    def runs(self) -> list[RecordedRun]:
        """The child runs, both flow runs and task runs, in order of creation."""
        called = RunFilter(parent_run_id=self.id)
        found: list[FlowRun | TaskRun] = list(self._client.read_flow_runs(called))
        found += self._client.read_task_runs(called)
        return [RecordedRun(self._client, run) for run in sorted(found, key=by_creation)]

    def runs_of(self, function: Named) -> list[RecordedRun]:
        """Return the child runs of a flow or task, given as an object or a name, in order."""
        names = names_of(function)
        return [run for run in self.runs if run.function_name in names]

    def run_of(self, function: Named) -> RecordedRun:
        """Return the latest child run of a flow or task, given as object or name.

        Raises:
            LookupError: There is no such run.
        """
        return last(self.runs_of(function), function, self.runs)

    def __repr__(self) -> str:
        kind = "flow" if self.is_flow else "task"
        return f"<{kind} run {self.name!r} of {self.function_name!r}>"


def names_of(function: Named) -> tuple[str, ...]:
    """Return the possible names of a flow or task: a flow 'my_flow' is named 'my-flow'."""
    name = function if isinstance(function, str) else function.name
    return name, name.replace("_", "-")


def last(
    found: list[RecordedRun], function: Named | None, all_runs: list[RecordedRun]
) -> RecordedRun:
    """Return the last of the runs.

    Raises:
        LookupError: There are no runs; the message lists the functions that have runs.
    """
    if found:
        return found[-1]
    of = "" if function is None else f" of {names_of(function)[0]!r}"
    names = ", ".join(sorted({run.function_name for run in all_runs})) or "none"
    raise LookupError(f"there is no run{of}. Functions with runs: {names}")


def by_creation(run: FlowRun | TaskRun) -> str:
    """Return a sort key for runs, oldest first."""
    return str(run.id)  # ids are in order of time
