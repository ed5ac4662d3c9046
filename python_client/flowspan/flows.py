"""Flows: `@flow`."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypedDict, TypeVar, overload

from flowspan.core.argument_validation import Checks
from flowspan.core.definition import FlowDefinition, checked_run_name
from flowspan.core.functions import attribute_of, called_function
from flowspan.core.hooks import HookDecorator, HookList
from flowspan.core.option_attributes import OptionValue
from flowspan.core.option_errors import check_options, declare_options, names_options
from flowspan.core.type_hints import outer_names
from flowspan.core.values.payloads import encode_parameters
from flowspan.decorated import Decorated, options_in
from flowspan.drivers.calls.sync import run_flow
from flowspan.prefect_names import refusing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self, Unpack

    from flowspan.core.hooks import Hook
    from flowspan.core.parameter_schema import ParameterSchema
    from flowspan.core.retries import RetryCondition, RetryDelay
    from flowspan.drivers.visualize.call_graph import Sketch
    from flowspan.results import ResultStore
    from flowspan.serializers import SerializerLike
    from flowspan.task_runners import TaskRunner

__all__ = ["Flow", "FlowOptions", "flow"]

P = ParamSpec("P")
P2 = ParamSpec("P2")
R_co = TypeVar("R_co", covariant=True)


class FlowOptions(TypedDict, total=False):
    """The options of `@flow`, which says what they mean; `Flow` has their defaults."""

    name: str | None
    version: str | None
    flow_run_name: str | Callable[..., str] | None
    retries: int | None
    retry_delay_seconds: RetryDelay | None
    retry_jitter_factor: float | None
    retry_condition_fn: RetryCondition | None
    task_runner: TaskRunner | type[TaskRunner] | None
    description: str | None
    timeout_seconds: float | None
    validate_parameters: bool | None
    persist_result: bool | None
    result_storage: str | Path | ResultStore | None
    result_serializer: SerializerLike | str | None
    cache_result_in_memory: bool | None
    log_prints: bool | None
    on_completion: Sequence[Hook] | None
    on_failure: Sequence[Hook] | None
    on_cancellation: Sequence[Hook] | None
    on_crashed: Sequence[Hook] | None
    on_running: Sequence[Hook] | None


class Flow(Decorated[P, R_co], FlowDefinition):
    """A function whose calls are flow runs. Made by `@flow`, which says what the options mean."""

    on_cancellation = HookDecorator("on_cancellation")
    on_crashed = HookDecorator("on_crashed")
    on_cancellation_hooks = HookList("on_cancellation")
    on_crashed_hooks = HookList("on_crashed")

    flow_run_name = OptionValue()
    should_validate_parameters = OptionValue("validate_parameters")
    task_runner = OptionValue(read=lambda flow: flow.own_runner or _default_runner(flow))
    none_keeps = frozenset(
        {
            *("name", "description", "version", "retries", "retry_delay_seconds"),
            *("retry_jitter_factor", "retry_condition_fn", "cache_result_in_memory"),
            *("timeout_seconds", "validate_parameters", "flow_run_name", "task_runner"),
        }
    )

    _run = staticmethod(run_flow)

    @names_options("`Flow`")
    def __init__(
        self,
        fn: Callable[P, R_co],
        *,
        name: str | None = None,
        version: str | None = None,
        flow_run_name: str | Callable[..., str] | None = None,
        retries: int | None = 0,
        retry_delay_seconds: RetryDelay | None = 0,
        retry_jitter_factor: float | None = None,
        retry_condition_fn: RetryCondition | None = None,
        task_runner: TaskRunner | type[TaskRunner] | None = None,
        description: str | None = None,
        timeout_seconds: float | None = None,
        validate_parameters: bool | None = True,
        persist_result: bool | None = None,
        result_storage: str | Path | ResultStore | None = None,
        result_serializer: SerializerLike | str | None = None,
        cache_result_in_memory: bool | None = True,
        log_prints: bool | None = None,
        on_completion: Sequence[Hook] | None = None,
        on_failure: Sequence[Hook] | None = None,
        on_cancellation: Sequence[Hook] | None = None,
        on_crashed: Sequence[Hook] | None = None,
        on_running: Sequence[Hook] | None = None,
    ) -> None:
        self.run_tags = ()
        self.file_version = _file_version(fn)
        self._all_checks = Checks(fn, outer_names(fn))
        super().__init__(fn, options_in(locals()))

    def take_options(self, options: dict[str, Any]) -> None:  # noqa: D102 - as its base
        run_name = checked_run_name(options["flow_run_name"], "flow_run_name")
        own_runner = _checked_runner(options["task_runner"])
        super().take_options(options)
        self.run_name = run_name
        self.own_runner = own_runner
        self.version = options["version"] or self.file_version
        # None stands for the default, as for every option.
        is_validated = options["validate_parameters"] is not False
        self._checks = self._all_checks if is_validated else None
        self._binding = None

    @property
    def parameters(self) -> ParameterSchema:
        """A JSON schema of the parameters: `properties`, `required`, `definitions`."""
        from flowspan.core.parameter_schema import parameter_schema  # noqa: PLC0415 - rare

        return parameter_schema(self.fn, self._all_checks.names)

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters as the function would get them, defaults included.

        Args:
            parameters: Values by parameter.

        Raises:
            ParameterError: They do not fit; the message says which.
        """
        return dict(self.binding.bind((), parameters))

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters as they are stored with a run: what JSON can hold.

        Args:
            parameters: Values by parameter; a placeholder stands for what JSON cannot hold.
        """
        data, _ = encode_parameters(parameters)
        plain: dict[str, Any] = json.loads(data)
        return plain

    def generate_mermaid_graph(self, /, *args: Any, **kwargs: Any) -> str:
        """What the flow calls, as the text of a Mermaid flowchart; see `visualize`.

        Args:
            *args: The function's arguments.
            **kwargs: The function's, likewise.

        Raises:
            VisualizationError: The flow looks into a result that is not there.
        """
        return self._sketch(args, kwargs).as_mermaid()

    def generate_dot_graph(self, /, *args: Any, **kwargs: Any) -> str:
        """What the flow calls, as a graph in the language of Graphviz; see `visualize`.

        Args:
            *args: The function's arguments.
            **kwargs: The function's, likewise.

        Raises:
            VisualizationError: The flow looks into a result that is not there.
        """
        return self._sketch(args, kwargs).as_dot()

    async def agenerate_mermaid_graph(self, /, *args: Any, **kwargs: Any) -> str:
        """The same as `generate_mermaid_graph`, to be awaited."""
        return self.generate_mermaid_graph(*args, **kwargs)

    async def avisualize(self, /, *args: Any, **kwargs: Any) -> Path:
        """The same as `visualize`, to be awaited."""
        return self.visualize(*args, **kwargs)

    def visualize(self, /, *args: Any, **kwargs: Any) -> Path:
        """Draws what the flow calls, and what of it takes the result of what, into an SVG file.

        The function is called, but no task and no other flow: nothing is reported. A task gives its
        `viz_return_value`, or something that stands for its result and can only be passed on.

        Args:
            *args: The function's arguments.
            **kwargs: The function's, likewise.

        Returns:
            The file, in the current folder, named after the flow. The path may be awaited, as
            Prefect's call is in coroutines; then it gives itself.

        Raises:
            VisualizationError: The flow looks into a result that is not there; or Graphviz is not
                installed (`generate_mermaid_graph` needs nothing).
        """
        from flowspan.drivers.visualize.graphviz import DrawnPath, draw  # noqa: PLC0415 - rare, imports subprocess

        return DrawnPath(draw(self.generate_dot_graph(*args, **kwargs), Path(f"{self.name}.svg")))

    def _sketch(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sketch:
        from flowspan.drivers.visualize.call_graph import make_sketch  # noqa: PLC0415 - imports asyncio

        arguments = self.binding.bind(args, kwargs)
        args, kwargs = self.binding.call_arguments(arguments, args, kwargs)
        return make_sketch(self, arguments, args, kwargs)

    def with_options(self, /, **options: Unpack[FlowOptions]) -> Self:
        """A copy with other options; those that are not given stay as they are. See `flow`."""
        check_options("`Flow.with_options`", options, "`@flow`")
        copied = self._copy_with(options)
        # The names around the function can only be looked up where it is defined.
        copied._all_checks = self._all_checks  # noqa: SLF001 - a copy of this one
        copied._checks = self._all_checks if copied._checks is not None else None  # noqa: SLF001
        return copied

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Flow[P, R_co]: ...
    @overload
    def __get__(
        self: Flow[Concatenate[Any, P2], R_co], instance: object, owner: type | None = None
    ) -> Flow[P2, R_co]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """The flow with its function bound, for flows that are methods."""
        return self._bound_to(instance, owner)


declare_options("`@flow`", Flow.__init__)


@overload
def flow(fn: Callable[P, R_co], /) -> Flow[P, R_co]: ...
@overload
def flow(
    **options: Unpack[FlowOptions],
) -> Callable[[Callable[P, R_co]], Flow[P, R_co]]: ...
def flow(  # noqa: D417 - the options are described one by one
    fn: Callable[..., Any] | None = None, /, **options: Any
) -> Any:
    """Makes a flow of a function, plain or asynchronous; with and without parentheses.

    Args:
        fn: The function.
        name: The flow's name; the function's, with dashes for underscores, by default.
        version: The version of the code; a hash of the file that it is in by default.
        flow_run_name: How its runs are named: a template with parameters in braces ("load-{day}"),
            or a function that returns the name; else they are given one ("brave-otter").
        retries: How many times a failed run is tried again; None never.
        retry_delay_seconds: How long to wait before that: a number, a list whose last is repeated,
            or a function of the number of retries that returns such a list (`exponential_backoff`).
        retry_jitter_factor: By which part of itself a delay may grow by chance.
        retry_condition_fn: Called with (flow, run, state) after a failure; only a true answer
            retries.
        task_runner: What runs the tasks that it submits; threads without a bound by default.
        description: For people; the docstring by default.
        timeout_seconds: How long one attempt may take. A plain function in another than the main
            thread cannot be interrupted where it blocks: its run ends at the deadline all the same.
        validate_parameters: Whether arguments are validated and coerced to the annotations by
            pydantic.
        persist_result: Whether its results and those of what it calls are stored; None does as the
            calling run does, or as the settings say (FLOWSPAN_PERSIST_RESULTS, off by default).
            result_storage and result_serializer switch it on.
        result_storage: Where they are stored: a path, or a URL that fsspec knows (s3://…); None
            does as the calling run does, or as FLOWSPAN_RESULTS_URL says.
        result_serializer: How they are written: "pickle" (the default), "json",
            "compressed/pickle", "compressed/json", or a serializer.
        cache_result_in_memory: Whether a result that is stored stays in memory, too, as long as
            its state does; else it is read each time that the state is asked for it.
        log_prints: Whether prints are logged too; None does as the calling run does.
        on_completion: Functions to call when a run has completed: each is given (flow, run, state),
            may be asynchronous, and changes nothing about the run if it raises.
        on_failure: Likewise when a run has failed, after the last retry.
        on_cancellation: Likewise when a run was cancelled.
        on_crashed: Likewise when a run was broken off, as far as the process still can.
        on_running: Likewise when an attempt begins, before the function is called.

    Returns:
        The flow; without `fn`, a decorator.

    Raises:
        TypeError, ValueError: An option has a value that it may not have.
    """
    check_options("`@flow`", options, "`@flow`")
    if fn is None:
        return functools.partial(Flow, **options)
    return Flow(fn, **options)


def _checked_runner(task_runner: TaskRunner | type[TaskRunner] | None) -> TaskRunner | None:
    """The task runner; a new one where its class was given."""
    runner = task_runner() if isinstance(task_runner, type) else task_runner
    if runner is not None and not hasattr(runner, "open"):
        raise TypeError(
            "task_runner must be a task runner such as ThreadPoolTaskRunner(max_workers=4) of "
            f"flowspan.task_runners, not {runner!r}"
        )
    return runner


def _default_runner(flow: Flow[..., Any]) -> TaskRunner:
    from flowspan.task_runners import ThreadPoolTaskRunner  # noqa: PLC0415 - only to look at it

    flow.own_runner = runner = ThreadPoolTaskRunner()
    return runner


def _file_version(fn: Callable[..., Any]) -> str | None:
    """A hash of the file that a function is in; None where there is none."""
    code = attribute_of(called_function(fn), "__code__")
    return _hash_of(code.co_filename) if code is not None else None


@functools.cache
def _hash_of(file_name: str) -> str | None:
    try:
        return hashlib.sha256(Path(file_name).read_bytes()).hexdigest()[:16]
    except OSError:  # typed in, or read from an archive
        return None


__getattr__ = refusing(__name__)
