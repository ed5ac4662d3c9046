"""Sketches of flows: their function is called, but not what it calls; that is only noted down."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from time import time_ns
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flowspan.core.async_dispatch import running_loop
from flowspan.core.call_graph import current_sketch
from flowspan.core.events import RunRecord
from flowspan.core.held_events import current_hold
from flowspan.core.run import current_run
from flowspan.core.run_objects import FlowRun
from flowspan.core.states import COMPLETED, State
from flowspan.core.values.annotations import Annotation
from flowspan.core.values.traversal import find, parts_of
from flowspan.drivers import process as hosts
from flowspan.drivers.calls.start import current_tags
from flowspan.drivers.cancellation.scope import CancelScope
from flowspan.drivers.sync_async_bridge import run_coroutine
from flowspan.exceptions import VisualizationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from flowspan.core.definition import FlowDefinition
    from flowspan.core.run import Run


class Sketched:
    """Stands for what a task or flow would give: its result, its future, or a list of those."""

    def __init__(self, number: int, name: str, value: Any = None) -> None:
        """Stand for a result, or for a future whose result is known.

        Args:
            number: The number of the call.
            name: Its name.
            value: What the task is said to give (`viz_return_value`); None if that is not known.
        """
        self.number = number
        self.name = name
        self.state = State(COMPLETED, data=self if value is None else value)

    def result(self, *_args: Any, **_kwargs: Any) -> Any:
        """As that of a future or state: itself, or the value that is known."""
        return self.state.data

    async def aresult(self, *_args: Any, **_kwargs: Any) -> Any:
        """As `result`."""
        return self.state.data

    def wait(self, *_args: Any, **_kwargs: Any) -> None:
        """As that of a future: at once."""

    def done(self) -> bool:
        """As that of a future: always."""
        return True

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """As that of a future that has ended: call it at once."""
        callback(self)

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        return self.state.data

    def __iter__(self) -> Iterator[Any]:
        """The futures of a mapped task, where its values are known."""
        values = self.state.data
        if not isinstance(values, (list, tuple)):
            self._refuse()
        return iter([Sketched(self.number, self.name, value) for value in values])

    def _refuse(self, *_: Any) -> Any:
        raise VisualizationError(
            f"The flow looks into the result of {self.name!r}, which is not there: nothing that a "
            "flow calls is executed when it is drawn. Give the task a value to go on with: "
            "@task(viz_return_value=…)."
        )

    __len__ = __bool__ = __getitem__ = __lt__ = __gt__ = __le__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __int__ = __float__ = _refuse

    def __repr__(self) -> str:
        return f"<result of {self.name!r}>"


class Sketch:
    """What a flow calls, and what of it takes the result of what.

    Attributes:
        nodes: The names of the calls, in order ("load-0"), each with whether it is a flow.
        edges: Pairs of indexes into the nodes: the result of the first is taken by the second.
        run: Stands for the flow run, for code that asks about it. It is never reported.
    """

    run: Run

    def __init__(self, run: Run) -> None:
        self.run = run
        self.nodes: list[tuple[str, bool]] = []
        self.edges: list[tuple[int, int]] = []
        self._counts: dict[str, int] = {}
        self._values: list[tuple[Any, int]] = []

    def add(self, definition: Any, *inputs: Any) -> Any:
        """Notes a call down; what it is to give: its `viz_return_value`, or something Sketched."""
        count = self._counts.get(definition.name, 0)
        self._counts[definition.name] = count + 1
        number = len(self.nodes)
        name = f"{definition.name}-{count}"
        self.nodes.append((name, definition.is_flow))
        sources = dict.fromkeys(self._sources(inputs))
        self.edges += [(source, number) for source in sources]
        value = getattr(definition, "viz_return_value", None)
        if value is None:
            return Sketched(number, name)
        self._values.append((value, number))
        return value

    def submitted(self, definition: Any, *inputs: Any, return_state: bool) -> Any:
        """Note a submitted or mapped task down; return its future, or its state."""
        number = len(self.nodes)
        value = self.add(definition, *inputs)
        if return_state:
            return State(COMPLETED, data=value)
        return value if isinstance(value, Sketched) else Sketched(number, definition.name, value)

    def _sources(self, inputs: Any) -> Iterator[int]:
        for item in find(inputs, (Sketched, Annotation, State)):
            if isinstance(item, Sketched):
                yield item.number
            elif isinstance(item, Annotation):
                yield from self._sources(item.unwrap())
            else:
                yield from self._sources(item.data)
        yield from self._known_in(inputs)

    def _known_in(self, value: Any) -> Iterator[int]:
        """The calls whose `viz_return_value` is somewhere in a value."""
        kinds = tuple({type(given) for given, _ in self._values})
        for item in find(value, kinds) if kinds else ():
            found = [number for given, number in self._values if given is item]
            if found:
                yield found[-1]
            else:
                for part in parts_of(item):
                    yield from self._known_in(part)

    def as_mermaid(self) -> str:
        """The text of a Mermaid flowchart."""
        lines = ["graph TD"]
        for number, (name, is_flow) in enumerate(self.nodes):
            shape = f'[["{name}"]]' if is_flow else f'["{name}"]'
            lines.append(f"    n{number}{shape}")
        lines += [f"    n{source} --> n{target}" for source, target in self.edges]
        return "\n".join(lines) + "\n"

    def as_dot(self) -> str:
        """The text of a graph for the programs of Graphviz."""
        lines = ["digraph {", "    node [shape=box, style=rounded];"]
        for number, (name, is_flow) in enumerate(self.nodes):
            label = name.replace("\\", "\\\\").replace('"', '\\"')
            extra = ", peripheries=2" if is_flow else ""
            lines.append(f'    n{number} [label="{label}"{extra}];')
        lines += [f"    n{source} -> n{target};" for source, target in self.edges]
        return "\n".join(lines) + "\n}\n"


def make_sketch(
    flow: FlowDefinition,
    arguments: dict[str, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Sketch:
    """Call the function of a flow, plain or asynchronous, or a generator function.

    Args:
        flow: The flow.
        arguments: The arguments by parameter.
        args: The positional arguments.
        kwargs: The keyword arguments.
    """
    sketch = Sketch(_stand_in(flow, arguments))
    fn = flow.fn

    async def later(awaitable: Any) -> None:
        if hasattr(awaitable, "__aiter__"):
            async for _ in awaitable:
                pass
        else:
            await awaitable

    def call() -> None:
        current_run.set(None)
        current_sketch.set(sketch)
        current_hold.set(_NoReports())
        sketch.run.loop = running_loop()
        value = fn(*args, **kwargs)
        if hasattr(value, "__aiter__") or asyncio.iscoroutine(value):
            run_coroutine(later(value))  # in a thread if a loop runs in this one
        elif hasattr(value, "__next__"):
            for _ in value:
                pass

    hosts.begin_hold()
    try:
        copy_context().run(call)
    finally:
        hosts.end_hold()
    return sketch


class _NoReports(hosts.ProcessContext):
    """A host that reports nothing: what a flow does beside its calls is not to be seen."""

    def __init__(self) -> None:
        super().__init__(_nothing, flush=_nothing, on_cancel=_nothing, forget=_nothing)


def _nothing(*_: object) -> None:
    """Takes anything."""


def _stand_in(flow: FlowDefinition, arguments: dict[str, Any]) -> FlowRun:
    """Return a run of the flow for code that asks about its run; it is not reported."""
    run_id = str(uuid4())
    record = RunRecord(
        run_id,
        is_flow=True,
        function_name=flow.name,
        run_name=flow.name,
        parent_run_id=None,
        root_run_id=run_id,
        flow_run_id=run_id,
        tags=current_tags.get(),
        version=flow.version or "",
    )
    run = FlowRun(record, flow, None, None, CancelScope(), time_ns(), log_prints=False)
    run.release()
    run.running_since_ns = run.created_ns
    run.flow_run = run
    run.arguments = arguments
    return run
