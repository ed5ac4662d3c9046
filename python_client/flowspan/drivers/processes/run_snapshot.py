"""Snapshots of runs for worker processes: ids, names, and the runs that called them."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from flowspan.core.definition import FlowDefinition, TaskDefinition
from flowspan.core.result_options import ResultPolicy
from flowspan.core.run_objects import FlowRun, TaskRun
from flowspan.drivers.processes import pickling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.core.definition import Definition
    from flowspan.core.events import RunRecord
    from flowspan.core.run import Run, Scope

_LEFT_BEHIND = frozenset(
    {
        *(
            "fn",
            "own_runner",
            "_binding",
            "_details",
            "_checks",
            "_all_checks",
            "_keywords",
            "options",
            "stages",
        ),
        *(
            "code",
            "given_delay",
            "hooks",
            "result_policy",
            "live_tags",
            "retry",
            "viz_return_value",
        ),
    }
)
"""Attributes of a definition that workers do not need. Its function is sent separately."""


_facts: WeakKeyDictionary[Definition, dict[str, Any]] = WeakKeyDictionary()
"""The cached portable attributes of each definition."""


class PortableRun(NamedTuple):
    """A snapshot of a run for a worker process.

    Attributes:
        record: Its ids, names and tags.
        definition: The attributes of its flow or task that can be pickled, by name.
        attempt: The current attempt.
        created_ns: The creation time, in nanoseconds since 1970 UTC.
        started_ns: The start of the first attempt, in nanoseconds since 1970 UTC.
        log_prints: True if prints are logged.
        arguments: The arguments by parameter that can be pickled; None without arguments.
        result_policy: The result policy for its calls, as far as it can be pickled; None for none.
        parent: The run that called it; None at the top, or if the worker already knows the caller
            as the flow run.
    """

    record: RunRecord
    definition: dict[str, Any]
    attempt: int
    created_ns: int
    started_ns: int
    log_prints: bool
    arguments: dict[str, Any] | None
    result_policy: dict[str, Any] | None
    parent: PortableRun | None


def dump_task_run(run: Run) -> bytes:
    """Pickle a task run with its callers inside the flow run, which is sent separately."""
    return pickling.dumps(_portable(run, up_to=run.flow_run))


def dump_flow_run(run: Run) -> bytes:
    """Pickle a flow run with all its callers."""
    return pickling.dumps(_portable(run, up_to=None))


def _portable(run: Run, up_to: Run | None) -> PortableRun:
    parent = run.parent
    is_last = parent is None or (up_to is not None and parent.record.id == up_to.record.id)
    arguments = run.arguments
    return PortableRun(
        run.record,
        _facts_of(run.definition),
        run.attempt,
        run.created_ns,
        run.original.started_ns,
        run.log_prints,
        None if arguments is None else pickling.only_portable(arguments),
        _result_policy_of(run),
        None if is_last or parent is None else _portable(parent, up_to),
    )


def _facts_of(definition: Definition) -> dict[str, Any]:
    known = _facts.get(definition)
    if known is not None:
        return known
    facts = {
        name: value
        for name, value in vars(definition).items()
        # Functions (hooks, conditions) are called by the parent.
        if name not in _LEFT_BEHIND and not name.startswith("__") and not _has_code(value)
    }
    _facts[definition] = portable = pickling.only_portable(facts)
    return portable


def _result_policy_of(run: Run) -> dict[str, Any] | None:
    """Return the result policy of a run. The results of earlier attempts stay in the parent."""
    result_policy = run.result_policy
    if result_policy is None:
        return None
    options = ("persist", "storage", "serializer")
    return pickling.only_portable({name: getattr(result_policy, name) for name in options})


def _has_code(value: Any) -> bool:
    if type(value) is list or type(value) is tuple:
        return any(callable(item) for item in value)
    return callable(value)


def load_flow_run(data: bytes, scope: Scope, worker_number: int) -> Run:
    """Load a flow run in the worker.

    Args:
        data: The pickled run.
        scope: Its cancellation scope.
        worker_number: A part of the names of its runs, which each worker numbers separately.
    """
    run = _here(pickling.loads(data), scope, {})
    run.task_numbers = _Numbers(worker_number)
    return run


def load_task_run(data: bytes, flow_run: Run) -> Run:
    """Load a task run in the worker.

    Args:
        data: The pickled run.
        flow_run: The flow run that it belongs to.
    """
    known = {flow_run.record.id: flow_run}
    return _here(pickling.loads(data), flow_run.scope, known, flow_run)


def load_run(
    flow_run: bytes | None, task_run: bytes | None, scope: Scope, worker_number: int
) -> Run:
    """Load a run in a process that the program has started.

    Args:
        flow_run: Its pickled flow run; None for a task that was called outside of flows.
        task_run: The pickled run, if it is a task run; else None.
        scope: Its cancellation scope.
        worker_number: See `load_flow_run`.
    """
    if flow_run is None:
        assert task_run is not None  # noqa: S101 - for mypy
        return _here(pickling.loads(task_run), scope, {})
    loaded = load_flow_run(flow_run, scope, worker_number)
    return loaded if task_run is None else load_task_run(task_run, loaded)


def _here(
    portable: PortableRun, scope: Scope, known: dict[str, Run], top: Run | None = None
) -> Run:
    parent = _here(portable.parent, scope, known, top) if portable.parent is not None else top
    record = portable.record
    definition = FlowDefinition() if record.is_flow else TaskDefinition()
    definition.__dict__.update(portable.definition)
    definition.retry = None  # the parent retries it
    definition.fn = _not_here
    if isinstance(definition, FlowDefinition):
        definition.own_runner = None
    flow_run = known.get(record.flow_run_id or "")
    made = FlowRun if record.is_flow else TaskRun
    times_ns = portable.created_ns, portable.started_ns
    run: Run = made(record, definition, parent, flow_run, scope, times_ns[0], portable.log_prints)
    run.running_since_ns = times_ns[1]
    run.release()
    if record.is_flow:
        known[record.id] = run
    run.attempt = portable.attempt
    run.arguments = portable.arguments
    if portable.result_policy is not None:
        run.result_policy = ResultPolicy(**portable.result_policy)
    return run


def _not_here() -> None:
    raise RuntimeError("The function of this run is called in another process.")


class _Numbers(dict[str, "Iterator[Any]"]):
    """Counters of each task's runs, with a prefix that makes names unique among workers."""

    def __init__(self, worker_number: int) -> None:
        super().__init__()
        self._worker_number = worker_number

    def setdefault(self, key: str, default: Any = None) -> Iterator[Any]:
        return super().setdefault(key, (f"w{self._worker_number}-{n}" for n in count()))
