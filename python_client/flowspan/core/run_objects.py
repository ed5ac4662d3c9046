"""Run objects for hooks, conditions and contexts: Prefect's attributes in addition to flowspan's.

Every attribute is computed on access, so unused ones cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flowspan.core.functions import attribute_of, called_function
from flowspan.core.run import Run
from flowspan.exceptions import ParameterError

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

    from flowspan.core.retries import RetryPolicy

_FLOW_NAMESPACE = "6f3b7d62-2f7b-5a0e-9d5c-0c9a1f5b7a10"
"""The namespace of flow ids: part of the contract with the service."""
_NS_PER_S = 1_000_000_000
_DIGITS = 8


class EmpiricalPolicy(NamedTuple):
    """The retry policy of a run.

    Attributes:
        retries: How many attempts may follow the first.
        retry_delay: The delay before each retry, in seconds; the last one is repeated.
        retry_jitter_factor: The maximum random growth of a delay, as a factor; None for no
            jitter.
    """

    retries: int
    retry_delay: list[float]
    retry_jitter_factor: float | None


class UpstreamRun(NamedTuple):
    """A run whose result another run takes.

    Attributes:
        id: Its id.
    """

    id: UUID


class _Timed(Run):
    """The attributes that flow runs and task runs share."""

    __slots__ = ()

    idempotency_key: str | None = None
    next_scheduled_start_time: datetime | None = None

    @property
    def created(self) -> datetime:
        """The creation time, an aware datetime in UTC."""
        return _instant(self.created_ns)

    @property
    def updated(self) -> datetime:
        """The time of its last known state, an aware datetime in UTC."""
        return _instant(self.state.time_ns or self.original.running_since_ns or self.created_ns)

    @property
    def state_id(self) -> UUID:
        """The id of its state."""
        return self.state.id

    @property
    def start_time(self) -> datetime | None:
        """The start of its first attempt, an aware datetime in UTC; None before that."""
        started_ns = self.original.started_ns
        return _instant(started_ns) if started_ns else None

    @property
    def end_time(self) -> datetime | None:
        """The time of its terminal state, an aware datetime in UTC; None before that."""
        ended_ns = self._ended_ns()
        return _instant(ended_ns) if ended_ns else None

    @property
    def total_run_time(self) -> timedelta:
        """The running time of the completed attempts, without the delays between them."""
        return self._run_time(self._ended_ns())

    @property
    def estimated_run_time(self) -> timedelta:
        """The running time so far, the current attempt included."""
        from flowspan import clock  # noqa: PLC0415 - not needed to define flows

        return self._run_time(self._ended_ns() or clock.now_ns())

    @property
    def estimated_start_time_delta(self) -> timedelta:
        """The delay until its first attempt; until now if none has begun."""
        from flowspan import clock  # noqa: PLC0415 - not needed to define flows

        return _span((self.original.started_ns or clock.now_ns()) - self.created_ns)

    @property
    def labels(self) -> dict[str, Any]:
        """Always empty: the service has them; `get_labels` of the API client reads them."""
        return {}

    @property
    def empirical_policy(self) -> EmpiricalPolicy:
        """Its retry policy."""
        policy: RetryPolicy | None = self.definition.retry
        if policy is None:
            return EmpiricalPolicy(0, [0.0], None)
        return EmpiricalPolicy(policy.retries, list(policy.delays_s), policy.jitter_factor or None)

    def _ended_ns(self) -> int:
        state = self.state
        return (state.time_ns or 0) if state.is_final() else 0

    def _run_time(self, until_ns: int) -> timedelta:
        run = self.original
        since_ns = run.running_since_ns
        return _span(run.ran_ns + (until_ns - since_ns if until_ns and since_ns else 0))


class FlowRun(_Timed):
    """A flow run, as passed to hooks and in `get_run_context().flow_run`."""

    __slots__ = ()

    @property
    def flow_run(self) -> FlowRun:
        """The run itself. It is not stored, since its arguments would wait for the collector."""
        return self

    @flow_run.setter
    def flow_run(self, flow_run: Run | None) -> None:
        """Ignore the value that every run is created with."""

    # Attributes that need deployments and workers.
    deployment_id: UUID | None = None
    deployment_version: str | None = None
    auto_scheduled = False
    created_by: Any = None
    infrastructure_pid: str | None = None
    infrastructure_document_id: UUID | None = None
    work_pool_id: UUID | None = None
    work_pool_name: str | None = None
    work_queue_id: UUID | None = None
    work_queue_name: str | None = None

    @property
    def flow_id(self) -> UUID:
        """The id of its flow, derived from the flow's name."""
        return _derived_id(self.definition.name)

    @property
    def flow_version(self) -> str | None:
        """The version of the flow."""
        return self.definition.version or None

    @property
    def parent_task_run_id(self) -> UUID | None:
        """The run that called it, a task's or a flow's; None at the top."""
        return self.parent_run_id

    @property
    def job_variables(self) -> dict[str, Any]:
        """Always empty, as there are no workers yet."""
        return {}

    @property
    def context(self) -> dict[str, Any]:
        """Always empty, as there are no deployments yet."""
        return {}


class TaskRun(_Timed):
    """A task run, as passed to hooks and conditions and in `get_run_context().task_run`."""

    __slots__ = ()

    cache_key: str | None = None
    cache_expiration: datetime | None = None

    @property
    def task_key(self) -> str:
        """An identifier of the task's function: its name, and a hash of its location."""
        fn: Any = called_function(self.definition.fn)
        name = attribute_of(fn, "__qualname__") or self.definition.name
        place = f"{attribute_of(fn, '__module__')}:{name}"
        return f"{name}-{_derived_id(place).hex[:_DIGITS]}"

    @property
    def dynamic_key(self) -> str:
        """An identifier among the calls of one task: the id of the run, as text."""
        return self.record.id

    @property
    def task_version(self) -> str | None:
        """The version of the task."""
        return self.definition.version or None

    @property
    def task_inputs(self) -> dict[str, list[UpstreamRun]]:
        """The runs whose results it takes, by parameter, and those in `wait_for` under that name.

        Parameters without such runs have an empty list, from the call of the task to its end.
        """
        from uuid import UUID  # noqa: PLC0415 - not needed to define flows

        try:
            names = list(self.parameters)
        except ParameterError:  # the arguments do not fit, which is how the run failed
            names = []
        inputs: dict[str, list[UpstreamRun]] = {name: [] for name in names}
        for each in self.record.inputs:
            inputs.setdefault(each.parameter, []).append(UpstreamRun(UUID(each.run_id)))
        return inputs

    @property
    def flow_run_run_count(self) -> int:
        """The current attempt of its flow run; 0 outside flows."""
        return 0 if self.flow_run is None else self.flow_run.run_count


def _derived_id(text: str) -> UUID:
    from uuid import UUID, uuid5  # noqa: PLC0415 - not needed to define flows

    return uuid5(UUID(_FLOW_NAMESPACE), text)


def _instant(time_ns: int) -> datetime:
    from datetime import UTC, datetime  # noqa: PLC0415 - not needed to define flows

    seconds, ns = divmod(time_ns, _NS_PER_S)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=ns // 1000)


def _span(duration_ns: int) -> timedelta:
    from datetime import timedelta  # noqa: PLC0415 - not needed to define flows

    return timedelta(microseconds=max(duration_ns, 0) // 1000)
