"""Definitions of flows and tasks: the decorated function with its checked name and options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.core.functions import attribute_of, function_doc, function_name, wrapped_function
from flowspan.core.hooks import HOOKS
from flowspan.core.limits import MAX_NAME_BYTES, MAX_TAGS
from flowspan.core.parameters import Parameters
from flowspan.core.pickling import reduce_definition, restore
from flowspan.core.retries import RETRIES
from flowspan.core.run_details import RunDetails
from flowspan.core.stages import NO_STAGES, stages_of
from flowspan.core.values.inspection import encodable, is_instance, shown
from flowspan.exceptions import InvalidNameError, ReservedArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from flowspan.core.hooks import Hooks
    from flowspan.core.keys.source_code import Code
    from flowspan.core.parameters import Checks
    from flowspan.core.result_options import ResultOptions
    from flowspan.core.retries import RetryPolicy
    from flowspan.core.stages import Stage, Stages

BANNED_CHARACTERS = ("/", "%", "&", ">", "<")
"""The characters that a flow's name may not contain, as in Prefect."""


class Definition:
    """The common base of `Flow` and `Task`: everything that the engine needs of them.

    Attributes:
        fn: The decorated function.
        name: Its name in the service and in traces.
        is_flow: True for a flow, False for a task.
        is_async: True if calling the function returns a coroutine or an async generator.
        is_generator: True if calling the function returns a generator, sync or async.
        description: A text for people; the docstring by default.
        version: The version of the code; None or empty if not set.
        run_tags: The tags of its runs, in order, without duplicates.
        retry: The retry policy; None if failed runs are never retried.
        timeout_s: The time limit of an attempt, in seconds; None for no limit.
        log_prints: True if prints are logged; None inherits the setting of the calling run.
        run_name: A template or a function for the names of runs; None for the default.
        hooks: The callbacks on state changes; None if there are none.
        options: The options as they were given, by name.
        result_policy: Its result options; None if it sets none.
        stages: The stages of each of its runs, in order; see `update_stages`.
        code: The code of the function, for cache keys.
    """

    fn: Callable[..., Any]
    name: str
    is_flow: bool
    is_async: bool
    is_generator: bool
    description: str | None
    version: str | None
    run_tags: tuple[str, ...]
    retry: RetryPolicy | None
    timeout_s: float | None
    log_prints: bool | None
    run_name: str | Callable[..., str] | None
    options: dict[str, Any]
    hooks: Hooks | None = None
    result_policy: ResultOptions | None = None
    stages: Stages = NO_STAGES
    code: Code

    _checks: Checks | None = None
    """The validators of arguments; None if arguments are not validated."""
    _binding: Parameters | None = None
    _details: RunDetails | None = None

    def update_stages(self) -> None:
        """Derive `stages` from the options; called on the first hook and on changed options."""
        stages: list[Stage] = []
        if self.hooks is not None:
            stages.append(HOOKS)
        if self.retry is not None:
            stages.append(RETRIES)
        self.stages = stages_of(*stages)

    @property
    def binding(self) -> Parameters:
        """The binding of arguments to parameters. Computed on first use, as many runs need none."""
        if self._binding is None:
            self._binding = Parameters(self.fn, f"{self.kind} {self.name!r}", self._checks)
        return self._binding

    @property
    def details(self) -> RunDetails:
        """The facts that each of its runs reports: the same object until an option changes."""
        details = self._details
        if (
            details is None
            or details.given_description is not self.description
            or details.retry is not self.retry
        ):
            details = self._details = RunDetails(self.fn, self.description, self.retry)
        return details

    @property
    def kind(self) -> str:
        """Its kind in messages: "Flow" or "Task"."""
        return "Flow" if self.is_flow else "Task"

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_definition(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state)
        self.update_stages()

    def __copy__(self) -> Self:
        # `__reduce__` would return the object itself if it can be imported.
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied


class TaskDefinition(Definition):
    """The common base of tasks."""

    is_flow = False


class FlowDefinition(Definition):
    """The common base of flows.

    Attributes:
        own_runner: The task runner for the tasks that it submits; None for the default.
    """

    is_flow = True
    own_runner: Any


def checked_name(name: str | None, fn: Callable[..., Any], *, is_flow: bool) -> str:
    """Return the given name, or the function's name; for flows with dashes, as in Prefect.

    Raises:
        ValueError: The name is blank or longer than 256 bytes.
        InvalidNameError: The name of a flow contains a forbidden character.
        TypeError: The name is not a string.
    """
    if name is None or (type(name) is str and not name):
        name = function_name(fn)
        if is_flow:
            name = "unknown-lambda" if name == "<lambda>" else name.replace("_", "-")
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, not {name!r}")
    name = encodable(name)
    if not name.strip() or len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"name must have 1 to {MAX_NAME_BYTES} bytes, not {name!r}")
    if is_flow and any(banned in name for banned in BANNED_CHARACTERS):
        raise InvalidNameError(
            f"the name of a flow may not contain any of the characters / % & > <: {name!r}"
        )
    return name


def checked_run_name(
    run_name: str | Callable[..., str] | None, option: str
) -> str | Callable[..., str] | None:
    """Return the template or function for the names of runs unchanged.

    Raises:
        TypeError: It is neither a template nor a function.
    """
    if run_name is None or is_instance(run_name, str) or callable(run_name):
        return run_name
    raise TypeError(
        f"{option} must be a string or a function that returns a string, not {run_name!r}"
    )


def made_description(description: str | None, fn: Callable[..., Any]) -> str | None:
    """Return the given description, or the docstring of the function."""
    return description or function_doc(fn)


def check_parameter_names(fn: Callable[..., Any]) -> None:
    """Check that a function can be decorated: no parameter may clash with an option of calls.

    Raises:
        TypeError: It is not callable.
        ReservedArgumentError: A parameter has the name of an option of calls. It is a TypeError.
    """
    if not callable(fn) and not is_instance(fn, (classmethod, staticmethod)):
        advice = "; a name is given by name=…" if is_instance(fn, str) else ""
        raise TypeError(f"@flow and @task take a function, not {fn!r}{advice}")
    code = attribute_of(wrapped_function(fn), "__code__")
    if code is None:
        return
    count = code.co_argcount + code.co_kwonlyargcount
    for reserved in ("return_state", "wait_for"):
        if reserved in code.co_varnames[:count]:
            raise ReservedArgumentError(
                f"{code.co_name!r} has a parameter named {reserved!r}, which is an option of every "
                "call of a flow or task; give it another name."
            )


def checked_tags(tags: object) -> tuple[str, ...]:
    """Return the tags without duplicates; those of a set are sorted.

    Raises:
        ValueError: There are more than 64 tags, or one is empty or longer than 256 bytes.
        TypeError: A tag is not a string, or a single string was given instead of a collection.
    """
    if tags is None:
        return ()
    if isinstance(tags, str) or not hasattr(tags, "__iter__"):
        raise TypeError(f"tags must be a list or a set of strings, not {tags!r}")
    items = list(tags)
    for index, item in enumerate(items):
        if not is_instance(item, str):
            raise TypeError(f"a tag must be a string, not {shown(item)}")
        items[index] = tag = encodable(item)
        if not tag or len(tag.encode()) > MAX_NAME_BYTES:
            raise ValueError(f"a tag must have 1 to {MAX_NAME_BYTES} bytes, not {tag!r}")
    if is_instance(tags, (set, frozenset)):
        items.sort()
    unique = tuple(dict.fromkeys(items))
    if len(unique) > MAX_TAGS:
        raise ValueError(f"at most {MAX_TAGS} tags, not {len(unique)}")
    return unique
