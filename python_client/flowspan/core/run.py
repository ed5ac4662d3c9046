"""Runs during their execution, and the current run."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from flowspan.core.states import PENDING, RUNNING, State

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from datetime import datetime
    from uuid import UUID

    from flowspan.core.definition import Definition
    from flowspan.core.events import RunRecord
    from flowspan.core.result_options import ResultHandler, ResultPolicy
    from flowspan.core.span import RunSpan
    from flowspan.core.states import StateType


class Scope(Protocol):
    """A cancellation scope: runs that are cancelled together, such as a flow run with its calls."""

    cancelled: bool
    reason: str
    deadline_of: str

    def child(self, interrupt: Callable[[], object] | None = None) -> Scope:
        """Return a scope that is cancelled with this one, and can be cancelled separately."""

    def check(self) -> None:
        """Raise CancelRun or DeadlinePassed if it was cancelled."""

    def cancel(self, reason: str, deadline_of: str = "") -> None:
        """Cancel the scope; see `flowspan.drivers.cancellation.scope`."""

    def apart(self) -> Scope:
        """Return a scope that is never cancelled with another: for work after the end of a run."""

    def close(self) -> None:
        """Close the scope at the end of its run."""

    def interrupted_by(self) -> list[Callable[[], object]]:
        """Return the interrupt callbacks of the open scopes directly below this one."""

    def add_interrupt(
        self, key: Hashable, interrupt: Callable[[], object], run_id: str = ""
    ) -> None:
        """Register a callback that runs on cancellation."""

    def remove_interrupt(self, key: Hashable) -> None:
        """Unregister a callback."""


class Run:
    """One execution of a flow or task in this process: a FlowRun or a TaskRun (`run_objects`).

    Attributes:
        record: The reported facts: ids, names, tags, parameters.
        definition: The flow or task.
        parent: The run that called it; None at the top.
        flow_run: The flow run that it belongs to (itself, for a flow run); None outside flows.
        scope: Its cancellation scope.
        span: Its trace span; None without tracing.
        attempt: The current attempt, 1 for the first.
        created_ns: The creation time, in nanoseconds since 1970 UTC.
        running_since_ns: The time when it entered Running; 0 in other states.
        ran_ns: The running time of earlier attempts, in nanoseconds.
        log_prints: True if its prints are logged.
        arguments: The arguments by parameter; for tasks only if something needs them.
        task_runner: The open task runner, for a flow run that submitted tasks.
        task_numbers: For the outermost run and for flow runs: the counters of each task's runs, for
            their names.
        loop: The event loop that ran in the thread when a sync run began, or None.
        begin_error: The reason why its function cannot be called (wrong arguments, an error of the
            function that names the run); None if it can.
        asyncio_task: The asyncio task that awaits an async run; None before and after that.
        is_inherited: True if another process executes and reports it: this process was forked from
            it during the run.
        is_submitted: True if it runs concurrently with its caller.
        may_retry: False forbids retries, whatever the definition says: the consumer of the values
            of a generator is gone.
        args: The positional arguments of the call; not set until the driver has them.
        kwargs: The keyword arguments; not set until the driver has them, None once released.
        entered: The last state that user code has seen (in hooks), or the terminal state of a flow
            run; not set before. Read `state` instead.
        first_ns: The start of the first attempt if a retry followed after a delay; else not set.
            Read `started_ns` instead.
        result_policy: The result policy for its calls; None if no result is stored.
        remote: The function that calls its task elsewhere, for a run in another process; else not
            set.
        result_handler: The result handler for its own result; None if that is not stored.
        stages: The behaviours around its attempts; see `flowspan.core.stages`.
        copy_of: For the view of one attempt's code (`copy_for_attempt`): the run itself.
    """

    __slots__ = (
        "args",
        "arguments",
        "asyncio_task",
        "attempt",
        "begin_error",
        "copy_of",
        "created_ns",
        "definition",
        "entered",
        "first_ns",
        "flow_run",
        "is_inherited",
        "is_submitted",
        "kwargs",
        "log_prints",
        "loop",
        "may_retry",
        "parent",
        "ran_ns",
        "record",
        "remote",
        "result_handler",
        "result_policy",
        "running_since_ns",
        "scope",
        "span",
        "stages",
        "task_numbers",
        "task_runner",
    )

    entered: State
    first_ns: int
    remote: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any] | None

    def __init__(
        self,
        record: RunRecord,
        definition: Definition,
        parent: Run | None,
        flow_run: Run | None,
        scope: Scope,
        created_ns: int,
        log_prints: bool,  # noqa: FBT001 - documented above
    ) -> None:
        self.record = record
        self.definition = definition
        self.stages = definition.stages
        self.parent = parent
        self.flow_run = flow_run
        self.scope = scope
        self.span: RunSpan | None = None
        self.attempt = 1
        self.created_ns = created_ns
        self.running_since_ns = 0
        self.ran_ns = 0
        self.log_prints = log_prints
        self.arguments: dict[str, Any] | None = None
        self.task_runner: Any = None
        self.task_numbers: dict[str, Iterator[int]] | None = None
        self.loop: object = None
        self.begin_error: BaseException | None = None
        self.may_retry = True
        self.result_policy: ResultPolicy | None = None
        self.result_handler: ResultHandler | None = None
        self.copy_of: Run | None = None
        self.is_inherited = False
        self.is_submitted = False
        self.asyncio_task: object = None

    def copy_for_attempt(self, scope: Scope) -> Run:
        """Return a view of the run for one attempt's code, which can be cancelled separately."""
        run = type(self)(
            self.record,
            self.definition,
            self.parent,
            self.flow_run,
            scope,
            self.created_ns,
            self.log_prints,
        )
        run.span = self.span
        run.attempt = self.attempt
        run.arguments = self.arguments
        run.args, run.kwargs = self.args, self.kwargs
        if self.task_numbers is None:
            self.task_numbers = {}
        run.task_numbers = self.task_numbers
        run.loop = self.loop
        run.result_policy = self.result_policy
        run.result_handler = self.result_handler
        run.copy_of = self
        run.is_inherited = self.is_inherited
        run.is_submitted = self.is_submitted
        run.asyncio_task = self.asyncio_task
        return run

    @property
    def original(self) -> Run:
        """The run itself, if this is a view for one attempt."""
        return self.copy_of or self

    @property
    def id(self) -> UUID:
        """The id of the run. `record.id` is the same as text."""
        return _uuid(self.record.id)

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.record.run_name

    @property
    def started_ns(self) -> int:
        """The start of its first attempt, in nanoseconds since 1970 UTC; 0 before that."""
        return getattr(self, "first_ns", self.running_since_ns)

    @property
    def state(self) -> State:
        """The last state that user code has seen (in hooks), or one derived from known facts."""
        run = self.original
        entered: State | None = getattr(run, "entered", None)
        if entered is not None:
            return entered
        run_id = self.record.id
        if not run.started_ns:
            state = State(PENDING, run_id=run_id, time_ns=self.created_ns)
        else:
            name = "Retrying" if self.attempt > 1 else "Running"
            state = State(RUNNING, name, "", None, run_id, run.running_since_ns or None)
        state.flow_run_id = self.record.flow_run_id
        return state

    @property
    def state_type(self) -> StateType:
        """The type of `state`."""
        return self.state.type

    @property
    def state_name(self) -> str:
        """The name of `state`."""
        return self.state.name

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments by parameter; for a task only from its call to its end."""
        if self.arguments is not None:
            return dict(self.arguments)
        kwargs = getattr(self, "kwargs", None)
        if kwargs is None:
            return {}
        definition: Any = self.definition
        arguments: dict[str, Any] = definition.binding.bind(self.args, kwargs)
        return arguments

    def release(self) -> None:
        """Release the arguments of the call, so that they can be garbage-collected."""
        self.args, self.kwargs = (), None

    @property
    def tags(self) -> list[str]:
        """Its tags."""
        return list(self.record.tags)

    @property
    def run_count(self) -> int:
        """The number of the current or last attempt, 1 for the first.

        It is 0 while the name of the run is computed.
        """
        return self.attempt if hasattr(self, "kwargs") else 0

    @property
    def expected_start_time(self) -> datetime:
        """The time of the call, an aware datetime in UTC."""
        from datetime import UTC, datetime  # noqa: PLC0415 - not needed to define flows

        seconds, ns = divmod(self.created_ns, 1_000_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=ns // 1000)

    @property
    def flow_run_id(self) -> UUID | None:
        """The flow run that it belongs to; its own id for a flow run; None outside flows."""
        flow_run_id = self.record.flow_run_id
        return None if flow_run_id is None else _uuid(flow_run_id)

    @property
    def parent_run_id(self) -> UUID | None:
        """The run that called it; None at the top."""
        parent_run_id = self.record.parent_run_id
        return None if parent_run_id is None else _uuid(parent_run_id)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be pickled: a run belongs to the process that executes it. Pass on "
            "its id and its name instead."
        )

    def __repr__(self) -> str:
        return f"<{self.definition.kind.lower()} run {self.name!r} ({self.record.id})>"


def _uuid(text: str) -> UUID:
    from uuid import UUID  # noqa: PLC0415 - not needed to define flows

    return UUID(text)


current_run: ContextVar[Run | None] = ContextVar("flowspan_current_run", default=None)
"""The run whose code is running in this thread or asyncio task."""


def is_outermost(parent: Run | None) -> bool:
    """Return True if a run with this parent is the outermost one in this process.

    A forked child inherits the run in which it was forked, but the parent process executes that
    one. Only the child waits for the runs that it starts itself.
    """
    return parent is None or parent.is_inherited


def inherit_runs() -> set[str]:
    """Mark the current run and its ancestors as inherited, in a forked child; return their ids."""
    ids: set[str] = set()
    pending = [current_run.get()]
    while pending:
        run = pending.pop()
        if run is not None and not (run.is_inherited and run.record.id in ids):
            run.is_inherited = True
            ids.add(run.record.id)
            pending += (run.parent, run.flow_run, run.copy_of)
    return ids
