"""Flows: the `@flow` decorator."""

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
    """The options of `@flow`, which documents them. `Flow` has their defaults."""

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
    """A function decorated with `@flow`. Each call is a flow run."""

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

    def take_options(self, options: dict[str, Any]) -> None:  # noqa: D102 - documented in the base class
        run_name = checked_run_name(options["flow_run_name"], "flow_run_name")
        own_runner = _checked_runner(options["task_runner"])
        super().take_options(options)
        self.run_name = run_name
        self.own_runner = own_runner
        self.version = options["version"] or self.file_version
        # None means the default, as for every option.
        is_validated = options["validate_parameters"] is not False
        self._checks = self._all_checks if is_validated else None
        self._binding = None

    @property
    def parameters(self) -> ParameterSchema:
        """The JSON schema of the parameters: `properties`, `required`, `definitions`."""
        from flowspan.core.parameter_schema import parameter_schema  # noqa: PLC0415 - rare

        return parameter_schema(self.fn, self._all_checks.names)

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the validated and coerced parameters, with the defaults of the others.

        Defaults are validated only when the flow is called, as in Prefect.

        Args:
            parameters: Values by parameter name.

        Raises:
            ParameterError: The values do not match the parameters; the message names them.
        """
        return dict(self.binding.bind((), parameters, validates_defaults=False))

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters as JSON values, as they are stored with a run.

        Args:
            parameters: Values by parameter name. Values that are not JSON-serializable become
                placeholders.
        """
        data, _ = encode_parameters(parameters)
        plain: dict[str, Any] = json.loads(data)
        return plain

    def generate_mermaid_graph(self, /, *args: Any, **kwargs: Any) -> str:
        """Return the call graph of the flow as a Mermaid flowchart; see `visualize`.

        Args:
            *args: The arguments of the function.
            **kwargs: The keyword arguments of the function.

        Raises:
            VisualizationError: The flow uses the value of a result that does not exist.
        """
        return self._sketch(args, kwargs).as_mermaid()

    def generate_dot_graph(self, /, *args: Any, **kwargs: Any) -> str:
        """Return the call graph of the flow in Graphviz's DOT language; see `visualize`.

        Args:
            *args: The arguments of the function.
            **kwargs: The keyword arguments of the function.

        Raises:
            VisualizationError: The flow uses the value of a result that does not exist.
        """
        return self._sketch(args, kwargs).as_dot()

    async def agenerate_mermaid_graph(self, /, *args: Any, **kwargs: Any) -> str:
        """Return the same as `generate_mermaid_graph`, as a coroutine."""
        return self.generate_mermaid_graph(*args, **kwargs)

    async def avisualize(self, /, *args: Any, **kwargs: Any) -> Path:
        """Draw the same as `visualize`, as a coroutine."""
        return self.visualize(*args, **kwargs)

    def visualize(self, /, *args: Any, **kwargs: Any) -> Path:
        """Draw the call graph of the flow, with the data dependencies of its tasks, as an SVG file.

        The flow's function is called, but no task and no other flow runs, and nothing is
        reported. A task returns its `viz_return_value`, or a placeholder that can only be
        passed on.

        Args:
            *args: The arguments of the function.
            **kwargs: The keyword arguments of the function.

        Returns:
            The path of the file, which is in the current folder and named after the flow. The path
            can be awaited, as in Prefect, and then returns itself.

        Raises:
            VisualizationError: The flow uses the value of a result that does not exist, or
                Graphviz is not installed (`generate_mermaid_graph` does not need it).
        """
        from flowspan.drivers.visualize.graphviz import DrawnPath, draw  # noqa: PLC0415 - rare, imports subprocess

        return DrawnPath(draw(self.generate_dot_graph(*args, **kwargs), Path(f"{self.name}.svg")))

    def _sketch(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sketch:
        from flowspan.drivers.visualize.call_graph import make_sketch  # noqa: PLC0415 - imports asyncio

        arguments = self.binding.bind(args, kwargs)
        args, kwargs = self.binding.call_arguments(arguments, args, kwargs)
        return make_sketch(self, arguments, args, kwargs)

    def with_options(self, /, **options: Unpack[FlowOptions]) -> Self:
        """Return a copy with the given options changed; see `flow`."""
        check_options("`Flow.with_options`", options, "`@flow`")
        copied = self._copy_with(options)
        # The names used in annotations can be resolved only where the flow is defined.
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
        """Return the flow bound to an instance, for flows that are methods."""
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
    """Decorate a function, plain or asynchronous, as a flow.

    Works with and without parentheses.

    Args:
        fn: The function.
        name: The flow's name. Defaults to the function's name with dashes for underscores.
        version: The version of the code. Defaults to a hash of the source file.
        flow_run_name: The name of the runs: a template with parameters in braces ("load-{day}"),
            or a function that returns the name. Defaults to a random name ("brave-otter").
        retries: The number of retries after a failed attempt; None for no retries.
        retry_delay_seconds: The delay before a retry, in seconds: a number, a list (the last value
            repeats), or a function that maps the number of retries to such a list
            (`exponential_backoff`).
        retry_jitter_factor: The fraction by which a delay may be increased at random.
        retry_condition_fn: Called with (flow, run, state) after a failure. The run is retried only
            if it returns true.
        task_runner: The runner of submitted tasks. Defaults to a thread pool without a limit.
        description: A description for people. Defaults to the docstring.
        timeout_seconds: The timeout of one attempt. Outside the main thread, a plain function
            cannot be interrupted while it blocks; its run still ends at the deadline.
        validate_parameters: True to validate the arguments against the annotations, and coerce
            them, with pydantic.
        persist_result: True to store results of the flow and of the runs that it calls. None
            inherits from the calling run, then from FLOWSPAN_PERSIST_RESULTS (off by default).
            result_storage and result_serializer imply True.
        result_storage: The place of stored results: a path, or a URL supported by fsspec (s3://…).
            None inherits from the calling run, then from FLOWSPAN_RESULTS_URL.
        result_serializer: The format of stored results: "pickle" (the default), "json",
            "compressed/pickle", "compressed/json", or a serializer.
        cache_result_in_memory: True to keep a stored result in memory as long as its state. False
            to read it each time it is requested from the state.
        log_prints: True to log the output of `print` as well. None inherits from the calling run.
        on_completion: Hooks called when a run has completed, with (flow, run, state). A hook may
            be asynchronous. An exception in a hook does not affect the run.
        on_failure: Hooks called when a run has failed, after the last retry.
        on_cancellation: Hooks called when a run was cancelled.
        on_crashed: Hooks called when a run has crashed; best effort, as the process may be gone.
        on_running: Hooks called when an attempt starts, before the function is called.

    Returns:
        The flow; without `fn`, a decorator.

    Raises:
        TypeError, ValueError: An option has an invalid value.
    """
    check_options("`@flow`", options, "`@flow`")
    if fn is None:
        return functools.partial(Flow, **options)
    return Flow(fn, **options)


def _checked_runner(task_runner: TaskRunner | type[TaskRunner] | None) -> TaskRunner | None:
    """Return the task runner; create one if its class was given."""
    runner = task_runner() if isinstance(task_runner, type) else task_runner
    if runner is not None and not callable(getattr(runner, "open", None)):
        raise TypeError(
            "task_runner must be a task runner such as ThreadPoolTaskRunner(max_workers=4) of "
            "flowspan.task_runners, or an object of your own with the method open(name), "
            f"not {runner!r}"
        )
    return runner


def _default_runner(flow: Flow[..., Any]) -> TaskRunner:
    from flowspan.task_runners import ThreadPoolTaskRunner  # noqa: PLC0415 - only to look at it

    flow.own_runner = runner = ThreadPoolTaskRunner()
    return runner


def _file_version(fn: Callable[..., Any]) -> str | None:
    """Return a hash of the file that defines a function; None if it has no file."""
    code = attribute_of(called_function(fn), "__code__")
    return _hash_of(code.co_filename) if code is not None else None


@functools.cache
def _hash_of(file_name: str) -> str | None:
    try:
        return hashlib.sha256(Path(file_name).read_bytes()).hexdigest()[:16]
    except OSError:  # typed in interactively, or read from an archive
        return None


__getattr__ = refusing(__name__)
