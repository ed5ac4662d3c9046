"""A run while it is executed, and which one is the current."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.core.definitions import Definition
    from flowspan.core.events import RunRecord
    from flowspan.core.tracing import RunSpan


class Scope(Protocol):
    """What is cancelled together: a flow run with all that it called."""

    cancelled: bool
    reason: str


class Run:
    """One execution of a flow or task in this process.

    Attributes:
        record: What is reported of it: ids, names, tags, parameters.
        definition: The flow or task.
        parent: The run that called it; None at the top.
        flow_run: The flow run that it belongs to (itself, for a flow run); None outside flows.
        scope: Tells whether it was asked to cancel.
        span: Its trace span; None without tracing.
        attempt: The attempt that is going on, 1 for the first.
        created_ns: When it was created.
        log_prints: Whether its prints are logged.
        arguments: The arguments by the names of parameters; for tasks only where something needs them.
        task_runner: For a flow run that submitted tasks: what runs them.
        task_numbers: For the outermost run and for flow runs: counts the runs of each task, for their names.
        loop: The event loop that was running in the thread when a synchronous run began, or None.
        abandoned: True once its attempt was given up (at its deadline) while its code may still be
            running in a thread that cannot be interrupted.
    """

    __slots__ = (
        "abandoned",
        "arguments",
        "attempt",
        "created_ns",
        "definition",
        "flow_run",
        "log_prints",
        "loop",
        "parent",
        "record",
        "scope",
        "span",
        "task_numbers",
        "task_runner",
    )

    def __init__(  # noqa: PLR0913 - made for each task: keyword dictionaries would cost
        self,
        record: RunRecord,
        definition: Definition,
        parent: Run | None,
        flow_run: Run | None,
        scope: Scope,
        created_ns: int,
        log_prints: bool,  # noqa: FBT001 - see above
    ) -> None:
        self.record = record
        self.definition = definition
        self.parent = parent
        self.flow_run = flow_run
        self.scope = scope
        self.span: RunSpan | None = None
        self.attempt = 1
        self.created_ns = created_ns
        self.log_prints = log_prints
        self.arguments: dict[str, Any] | None = None
        self.task_runner: Any = None
        self.task_numbers: dict[str, Iterator[int]] | None = None
        self.loop: object = None
        self.abandoned = False

    @property
    def id(self) -> str:
        """The run's id."""
        return self.record.id

    @property
    def name(self) -> str:
        """The run's own name."""
        return self.record.run_name

    def __repr__(self) -> str:
        return f"<{self.definition.kind.lower()} run {self.name!r} ({self.id})>"


current_run: ContextVar[Run | None] = ContextVar("flowspan_current_run", default=None)
"""The run whose code is running here: in this thread, or in this asyncio task."""
