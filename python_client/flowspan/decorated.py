"""Common base of `Flow` and `Task`: calls, methods, and copies with other options."""

from __future__ import annotations

from types import MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    NoReturn,
    ParamSpec,
    TypeVar,
    cast,
    overload,
)

from flowspan import telemetry
from flowspan.core import stand_in
from flowspan.core.call_graph import current_sketch
from flowspan.core.definition import (
    Definition,
    check_parameter_names,
    checked_name,
    made_description,
)
from flowspan.core.functions import (
    CodeOf,
    called_function,
    function_name,
    has_field_defaults,
    is_async_function,
    is_generator_function,
    take_after,
)
from flowspan.core.hooks import HookDecorator, HookList, inherited_hooks, made_hooks
from flowspan.core.keys.source_code import Code
from flowspan.core.number_options import checked_number, checked_timeout
from flowspan.core.option_attributes import OptionValue
from flowspan.core.option_errors import misplaced_option, possible_keywords
from flowspan.core.result_options import result_options
from flowspan.core.retries import RetryPolicy
from flowspan.core.states import COMPLETED, ReturnedState, State
from flowspan.core.values.inspection import is_instance
from flowspan.drivers.calls.generators import collecting, open_generator
from flowspan.drivers.sync_async_bridge import call_async_generator
from flowspan.exceptions import ParameterError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
    from typing import Self

    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]

# As early as a program may be expected to run flows: what it does before the first one has spans.
telemetry.trace_early()

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


def _seconds(definition: Definition) -> float | None:
    """Return the timeout in seconds as given; None for no timeout."""
    given = definition.options["timeout_seconds"]
    return None if given is None else checked_number(given, "timeout_seconds") or None


def _persists(definition: Definition) -> bool | None:
    """Return True if the options store results, False if not; None if they do not say."""
    return None if definition.result_policy is None else definition.result_policy.persist


class Decorated(Definition, Generic[P, R_co]):
    """A decorated function. Each call is a run.

    Attributes:
        class_attribute: For a class method or static method that was looked up on the class, and
            is therefore bound, the attribute of which this is a copy. None otherwise.
    """

    class_attribute: Self | None = None
    none_keeps: ClassVar[frozenset[str]]
    """Options that `with_options` leaves unchanged if they are None, as in Prefect."""

    options: dict[str, Any]

    if not TYPE_CHECKING:  # otherwise type checkers would accept any attribute

        def __getattr__(self, name: str) -> NoReturn:
            from flowspan.prefect_names import refuse_attribute  # noqa: PLC0415 - rare

            refuse_attribute("Flow" if self.is_flow else "Task", name)

    retries = OptionValue(read=lambda definition: definition.options["retries"] or 0)
    retry_delay_seconds = OptionValue(read=lambda definition: definition.given_delay)
    retry_jitter_factor = OptionValue()
    retry_condition_fn = OptionValue()
    timeout_seconds = OptionValue(read=_seconds)
    persist_result = OptionValue(read=_persists)
    result_storage = OptionValue()
    result_serializer = OptionValue()
    cache_result_in_memory = OptionValue()

    on_completion_hooks = HookList("on_completion")
    on_failure_hooks = HookList("on_failure")
    on_running_hooks = HookList("on_running")

    on_completion = HookDecorator("on_completion")
    on_failure = HookDecorator("on_failure")
    on_running = HookDecorator("on_running")

    # `inspect` reads these, and so detects coroutine and generator functions.
    __code__ = CodeOf()
    __defaults__ = CodeOf()
    __kwdefaults__ = CodeOf()

    _run: ClassVar[Callable[..., State]]
    """Function that runs a plain function of this kind: (definition, args, kwargs, wait_for)."""

    def __init__(self, fn: Callable[P, R_co], options: dict[str, Any]) -> None:
        """Initialize from the options that flows and tasks share.

        Args:
            fn: The function.
            options: All options of the constructor by name (see `options_in`).

        Raises:
            TypeError, ValueError: An option has an invalid value.
        """
        check_parameter_names(fn)
        self.fn = fn
        self.name = checked_name(options["name"], fn, is_flow=self.is_flow)
        self.description = made_description(options["description"], fn)
        self.hooks = made_hooks(options)
        self.take_options(options)
        self.is_async = is_async_function(fn)
        self.is_generator = is_generator_function(fn)
        self._fills_fields = not self.is_flow and has_field_defaults(fn)
        self._is_plain = not (self.is_async or self.is_generator or self._fills_fields)
        self.code = Code(fn)
        self._keywords = possible_keywords(called_function(fn))
        take_after(self, fn)
        self.__dict__.setdefault("__name__", function_name(fn))  # e.g. partials
        if stand_in.refused:
            self.fn = stand_in.unless_refused(fn)

    def take_options(self, options: dict[str, Any]) -> None:
        """Derive the engine's settings from the options, initially and when an option changes.

        Args:
            options: All options by name.

        Raises:
            TypeError, ValueError: An option has an invalid value.
        """
        policy = RetryPolicy(
            options["retries"],
            options["retry_delay_seconds"],
            options["retry_jitter_factor"],
            options["retry_condition_fn"],
        )
        timeout_s = checked_timeout(options["timeout_seconds"])
        result_policy = result_options(options)
        self.options = options
        self.retry = policy if policy.retries else None
        self.update_stages()
        self.given_delay = policy.given_delay
        self.timeout_s = timeout_s
        self.log_prints = options["log_prints"]
        self.result_policy = result_policy
        if result_policy is not None and result_policy.storage is not None:
            from flowspan.results.trusted_storages import note_storage  # noqa: PLC0415 - start-up cost

            note_storage(result_policy.storage)

    def set_option(self, option: str, value: Any) -> None:
        """Change an option for runs that start from now on.

        Args:
            option: The name of the option.
            value: Its new value.

        Raises:
            TypeError, ValueError: The value is invalid.
        """
        self.take_options({**self.options, option: value})

    @property
    def isasync(self) -> bool:
        """True if a call returns a coroutine or an asynchronous generator."""
        return self.is_async

    @property
    def isgenerator(self) -> bool:
        """True if a call returns a generator, plain or asynchronous."""
        return self.is_generator

    @property
    def isclassmethod(self) -> bool:
        """True if the function is a class method."""
        return is_instance((self.class_attribute or self).fn, classmethod)

    @property
    def isstaticmethod(self) -> bool:
        """True if the function is a static method."""
        return is_instance((self.class_attribute or self).fn, staticmethod)

    @property
    def ismethod(self) -> bool:
        """True if the function is bound to an instance."""
        return is_instance(self.fn, MethodType) and not self.isclassmethod

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(
        self: Decorated[..., Coroutine[Any, Any, Any]],
        /,
        *args: Any,
        return_state: Literal[True],
        **kwargs: Any,
    ) -> Coroutine[Any, Any, State]: ...
    @overload
    def __call__(
        self: Decorated[..., AsyncIterator[Any]],
        /,
        *args: Any,
        return_state: Literal[True],
        **kwargs: Any,
    ) -> Coroutine[Any, Any, State]: ...
    @overload
    def __call__(self, /, *args: Any, return_state: Literal[True], **kwargs: Any) -> State: ...
    @overload
    def __call__(self, /, *args: Any, wait_for: Iterable[Any], **kwargs: Any) -> R_co: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the function, at the top level or inside another run.

        A top-level run returns once the service has stored its terminal state, or the state is
        safely spooled on disk.

        Args:
            *args: The arguments of the function. Futures and states anywhere in them are awaited
                and replaced with their results. Arguments of flows are then validated and coerced.
            **kwargs: The keyword arguments of the function, and two options: `return_state=True`
                to return the terminal state instead of the result, and `wait_for=[…]`, futures
                that must complete first.

        Returns:
            The return value of the function. For an asynchronous function, a coroutine, also
            inside a plain flow or task, where `asyncio.run` runs it. For a generator function, a
            generator; the run starts when its first value is requested.

        Raises:
            BaseException: The exception that the function raised on its last attempt.
            ParameterError: The arguments do not match the parameters; the message names them. It
                is a TypeError.
            RunFailed: The function returned states or futures, and some of them failed.
            RunTimeout: The run exceeded timeout_seconds.
            UpstreamFailed: The run of a future in the arguments did not complete.
            CancelRun: The run, or the run that calls it, was cancelled.
        """
        return_state, wait_for = False, None
        if kwargs:
            return_state = kwargs.pop("return_state", False)
            wait_for = kwargs.pop("wait_for", None)
            if kwargs and self._keywords is not None:
                for name in kwargs:
                    if name not in self._keywords:
                        self._check_keyword(name, "a call")
        if not self._is_plain:
            return self._call_otherwise(args, kwargs, wait_for, return_state)
        state = self._run(self, args, kwargs, wait_for)
        if return_state:
            return state.returned()
        if type(state) is State and state.type is COMPLETED:
            return state.data
        __tracebackhide__ = True  # for pytest and IPython
        return state.given() if type(state) is ReturnedState else state.outcome()

    def _check_keywords(self, kwargs: Kwargs, what: str) -> None:
        """Refuse keyword arguments that were meant as options of the call or the decorator."""
        if self._keywords is not None:
            for name in kwargs:
                if name not in self._keywords:
                    self._check_keyword(name, what)

    def _check_keyword(self, name: str, what: str) -> None:
        """Refuse a keyword argument that was meant as an option of the call or the decorator.

        Raises:
            TypeError: The keyword is such an option; the message says where to put it.
        """
        names = self.binding.keywords
        if names is None or name in names:
            return
        where = f"{what} of {self.kind.lower()} {self.name!r}"
        error = misplaced_option(where, name, f"`@{self.kind.lower()}`")
        if error is not None:
            raise error

    def _call_otherwise(
        self,
        args: Args,
        kwargs: Kwargs,
        wait_for: Iterable[Any] | None,
        return_state: bool,  # noqa: FBT001 - private
    ) -> Any:
        """Call a function that is asynchronous, a generator, or has pydantic field defaults."""
        args, kwargs = self._with_fields(args, kwargs)
        if not self.is_generator:
            if not self.is_async:
                state = self._run(self, args, kwargs, wait_for)
                __tracebackhide__ = True  # for pytest and IPython
                if return_state:
                    return state.returned()
                return state.given() if type(state) is ReturnedState else state.outcome()
            coroutine: Any = self._run_async(args, kwargs, wait_for, return_state)
            coroutine.__qualname__ = self.name  # shown by Python if the coroutine is never awaited
            return coroutine
        if return_state or current_sketch.get() is not None:
            collected: Any = self._collected
            return collected(*args, return_state=return_state, wait_for=wait_for, **kwargs)
        if not self.is_async:
            return open_generator(self, args, kwargs, wait_for)
        from flowspan.drivers.calls import aio_generators  # noqa: PLC0415 - imports asyncio

        return call_async_generator(aio_generators.iterate(self, args, kwargs, wait_for))

    def _with_fields(self, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        """Return the arguments of a task call with the defaults of pydantic fields filled in.

        `def load(n: int = Field(default=4))` is called with 4. Flows do this during validation.
        """
        if not self._fills_fields:
            return args, kwargs
        try:
            return self.binding.call_arguments(self.binding.bind(args, kwargs), args, kwargs)
        except ParameterError:  # the call of the function raises it, inside the run
            return args, kwargs

    @property
    def _collected(self) -> Self:
        """A copy that returns all values of its generator function as a list."""
        if not self.is_generator:
            return self
        if self.is_async:
            from flowspan.drivers.calls import aio_generators  # noqa: PLC0415 - imports asyncio

            copied = self._copy_of(aio_generators.collecting(self.fn))
        else:
            copied = self._copy_of(collecting(self.fn))
        copied.is_generator = False
        copied._is_plain = not (self.is_async or self._fills_fields)  # noqa: SLF001 - a copy of this one
        return copied

    async def _run_async(
        self,
        args: Args,
        kwargs: Kwargs,
        wait_for: Iterable[Any] | None,
        return_state: bool,  # noqa: FBT001 - private
    ) -> Any:
        from flowspan.drivers.calls import aio  # noqa: PLC0415 - imports asyncio

        run: Any = aio.run_flow if self.is_flow else aio.run_task
        state = await run(self, args, kwargs, wait_for)
        __tracebackhide__ = True  # for pytest and IPython
        if return_state:
            return state.returned()
        return state.given() if type(state) is ReturnedState else state.outcome()

    def _copy_with(self, options: Mapping[str, Any]) -> Self:
        """Return a copy with the given options changed."""
        given = {
            name: value
            for name, value in options.items()
            if not (
                (value is None or (type(value) is str and not value)) and name in self.none_keeps
            )
        }
        options = {**self.options, **inherited_hooks(self.hooks, given)}
        copied = cast("Any", type(self))(self.fn, **options)
        copied.code = self.code  # the source as of decoration
        return cast("Self", copied)

    def _bound_to(self, instance: object, owner: type | None) -> Self:
        """Return a copy with the function bound, for flows and tasks that are methods."""
        is_of_class = is_instance(self.fn, (classmethod, staticmethod))
        if instance is None and not is_of_class:
            return self
        bound = self._copy_of(self.fn.__get__(instance, owner))
        if is_of_class:
            bound.class_attribute = self
        return bound

    def _copy_of(self, fn: Callable[..., Any]) -> Self:
        """Return a copy with another function."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__, fn=fn, _binding=None, __wrapped__=fn)
        return copied

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r}>"


def options_in(names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a constructor from its `locals()`."""
    others = {"self", "fn", "__class__"}
    return {name: value for name, value in names.items() if name not in others}
