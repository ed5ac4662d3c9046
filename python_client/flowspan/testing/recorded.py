"""Runs as the service has them, for tests to look at in one line each."""

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
    """A run, read from the service; what it tells is read anew each time.

    Args:
        client: Reads it.
        run: The run as it was found.
    """

    def __init__(self, client: SyncFlowspanClient, run: FlowRun | TaskRun) -> None:
        self._client = client
        self._run = run

    @property
    def record(self) -> FlowRun | TaskRun:
        """The run as the API client gives it."""
        read: Any = self._client.read_flow_run if self.is_flow else self._client.read_task_run
        run: FlowRun | TaskRun = read(self._run.id)
        return run

    @property
    def is_flow(self) -> bool:
        """True if it is a flow run."""
        return isinstance(self._run, FlowRun)

    @property
    def id(self) -> UUID:
        """Its id."""
        return self._run.id

    @property
    def name(self) -> str:
        """Its own name."""
        return self._run.name

    @property
    def function_name(self) -> str:
        """The name of its flow or task."""
        return self._run.function_name

    @property
    def tags(self) -> list[str]:
        """Its tags."""
        return list(self._run.tags)

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments of a flow run, as they were reported."""
        encoded = self._run.parameters if isinstance(self._run, FlowRun) else None
        return {} if encoded is None else dict(encoded.json())

    @property
    def state(self) -> State:
        """The state that it is in; `state.name`, `state.message`, `state.failure`."""
        return self.record.state

    @property
    def attempts(self) -> int:
        """The number of attempts."""
        return self.record.attempt

    @property
    def history(self) -> list[Transition]:
        """Every state that it entered, in order, with its time."""
        client = self._client
        read: Any = (
            client.read_flow_run_transitions if self.is_flow else client.read_task_run_transitions
        )
        return list(read(self.id))

    @property
    def states(self) -> list[str]:
        """The names of the states that it entered: ["Pending", "Running", "Completed"]."""
        return [transition.state.name for transition in self.history]

    @property
    def retry_delays(self) -> list[float]:
        """The delays before its retries, in seconds, as they were reported (waited for or not)."""
        return [
            (each.state.scheduled_at - each.state.entered_at).total_seconds()
            for each in self.history
            if each.state.scheduled_at is not None and each.state.entered_at is not None
        ]

    @property
    def log_records(self) -> list[LogRecord]:
        """The log messages of the run and of the runs that it called, in order."""
        return list(self._client.read_logs(self.id, include_descendants=True))

    @property
    def logs(self) -> list[str]:
        """The messages that it and the runs that it called logged, in order."""
        return [record.message for record in self.log_records]

    @property
    def artifacts(self) -> list[Artifact]:
        """The artifacts of it and of the runs that it called, the oldest first."""
        mine = ArtifactFilter(run_id=self.id, include_descendants=True)
        return list(self._client.read_artifacts(mine, oldest_first=True))

    def artifact(self, key: str) -> Any:
        """Return what the last of these artifacts with a key shows.

        Raises:
            LookupError: There is none.
        """
        found = [each for each in self.artifacts if each.key == key]
        if not found:
            keys = ", ".join(sorted({each.key for each in self.artifacts if each.key})) or "none"
            raise LookupError(f"run {self.name!r} has no artifact {key!r}; its keys: {keys}")
        data = found[-1].data
        return None if data is None else data.json()

    @property
    def runs(self) -> list[RecordedRun]:
        """The runs that it called, flow runs and task runs, in the order of their creation."""
        called = RunFilter(parent_run_id=self.id)
        found: list[FlowRun | TaskRun] = list(self._client.read_flow_runs(called))
        found += self._client.read_task_runs(called)
        return [RecordedRun(self._client, run) for run in sorted(found, key=by_creation)]

    def runs_of(self, function: Named) -> list[RecordedRun]:
        """Return the runs of a flow or task, or of its name, that it called, in order."""
        names = names_of(function)
        return [run for run in self.runs if run.function_name in names]

    def run_of(self, function: Named) -> RecordedRun:
        """Return the last of `runs_of`.

        Raises:
            LookupError: There is none.
        """
        return last(self.runs_of(function), function, self.runs)

    def __repr__(self) -> str:
        kind = "flow" if self.is_flow else "task"
        return f"<{kind} run {self.name!r} of {self.function_name!r}>"


def names_of(function: Named) -> tuple[str, ...]:
    """Return the names that a flow or task may have: 'my_task' is called 'my-task'."""
    name = function if isinstance(function, str) else function.name
    return name, name.replace("_", "-")


def last(
    found: list[RecordedRun], function: Named | None, all_runs: list[RecordedRun]
) -> RecordedRun:
    """Return the last of the runs.

    Raises:
        LookupError: There is none; the message says what there is.
    """
    if found:
        return found[-1]
    of = "" if function is None else f" of {names_of(function)[0]!r}"
    names = ", ".join(sorted({run.function_name for run in all_runs})) or "none at all"
    raise LookupError(f"there is no run{of}; there are runs of: {names}")


def by_creation(run: FlowRun | TaskRun) -> str:
    """Return what sorts runs, the oldest first."""
    return str(run.id)  # ids are in the order of time
