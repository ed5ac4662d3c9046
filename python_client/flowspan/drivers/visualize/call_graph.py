"""The call graph of a flow: its function runs, but its calls are only recorded."""

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
    """A placeholder for the result of a recorded call, its future, or a list of futures."""

    def __init__(self, number: int, name: str, value: Any = None) -> None:
        """Create a placeholder.

        Args:
            number: The number of the call.
            name: Its name.
            value: The declared result (`viz_return_value`); None if it is not known.
        """
        self.number = number
        self.name = name
        self.state = State(COMPLETED, data=self if value is None else value)

    def result(self, *_args: Any, **_kwargs: Any) -> Any:
        """Return the declared result, or the placeholder itself."""
        return self.state.data

    async def aresult(self, *_args: Any, **_kwargs: Any) -> Any:
        """Return the same as `result`."""
        return self.state.data

    def wait(self, *_args: Any, **_kwargs: Any) -> None:
        """Return at once, like a finished future."""

    def done(self) -> bool:
        """Return True, like a finished future."""
        return True

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Call the function at once, like a finished future."""
        callback(self)

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        return self.state.data

    def __iter__(self) -> Iterator[Any]:
        """Yield the futures of a mapped task; its results must be declared."""
        values = self.state.data
        if not isinstance(values, (list, tuple)):
            self._refuse()
        return iter([Sketched(self.number, self.name, value) for value in values])

    def _refuse(self, *_: Any) -> Any:
        raise VisualizationError(
            f"The flow uses the result of {self.name!r}, which does not exist: the calls of a flow "
            "are not executed when it is visualized. Set a result for this purpose: "
            "@task(viz_return_value=…)."
        )

    __len__ = __bool__ = __getitem__ = __lt__ = __gt__ = __le__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __int__ = __float__ = _refuse

    def __repr__(self) -> str:
        return f"<result of {self.name!r}>"


class Sketch:
    """The call graph of a flow: its calls and the data dependencies between them.

    Attributes:
        nodes: The names of the calls, in order ("load-0"), each with True for a flow.
        edges: Pairs of indexes into the nodes: the second call takes the result of the first.
        run: A placeholder flow run for code that asks for the current run. It is never reported.
    """

    run: Run

    def __init__(self, run: Run) -> None:
        self.run = run
        self.nodes: list[tuple[str, bool]] = []
        self.edges: list[tuple[int, int]] = []
        self._counts: dict[str, int] = {}
        self._values: list[tuple[Any, int]] = []

    def add(self, definition: Any, *inputs: Any) -> Any:
        """Record a call; return its `viz_return_value` or a placeholder."""
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
        """Record a submitted or mapped task; return its future or its state."""
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
        """Yield the calls whose `viz_return_value` occurs in a value, at any depth."""
        kinds = tuple({type(given) for given, _ in self._values})
        for item in find(value, kinds) if kinds else ():
            found = [number for given, number in self._values if given is item]
            if found:
                yield found[-1]
            else:
                for part in parts_of(item):
                    yield from self._known_in(part)

    def as_mermaid(self) -> str:
        """Return the call graph as a Mermaid flowchart."""
        lines = ["graph TD"]
        for number, (name, is_flow) in enumerate(self.nodes):
            shape = f'[["{name}"]]' if is_flow else f'["{name}"]'
            lines.append(f"    n{number}{shape}")
        lines += [f"    n{source} --> n{target}" for source, target in self.edges]
        return "\n".join(lines) + "\n"

    def as_dot(self) -> str:
        """Return the call graph in the DOT language of Graphviz."""
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
    """Call the function of a flow (sync, async or a generator), and record its calls.

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
            run_coroutine(later(value))  # in another thread if a loop runs in this one
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
    """A process context that drops all reports, so that visualizing has no side effects."""

    def __init__(self) -> None:
        super().__init__(_nothing, flush=_nothing, watch_commands=_nothing, forget=_nothing)


def _nothing(*_: object) -> None:
    """Accept and ignore any arguments."""


def _stand_in(flow: FlowDefinition, arguments: dict[str, Any]) -> FlowRun:
    """Return a placeholder run of the flow for code that asks for the current run."""
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
    run.arguments = arguments
    return run
