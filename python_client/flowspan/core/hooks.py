"""Hooks: functions of the user's that are called when a run has entered a state.

They belong to a flow or task (`Definition.hooks`, None where there are none) and are called in the
process that runs it: `run_hooks` is a part of the engine's generator, and asks the driver for each
call. A hook that raises an exception is logged; the others are called all the same, and the run's
state stays what it is.

What is not an Exception (Ctrl-C, an exit, the signals that stop a run) is not a hook's own matter:
it ends the hooks and goes on to whoever called the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from flowspan.core.functions import called_name
from flowspan.core.stages import Stage
from flowspan.core.states import CANCELLED, COMPLETED, CRASHED, FAILED, RUNNING, TERMINAL_TYPES
from flowspan.core.steps import CallUser
from flowspan.core.values.inspection import is_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from flowspan.core.definition import Definition
    from flowspan.core.engine import EngineIO
    from flowspan.core.run import Run
    from flowspan.core.states import State
    from flowspan.core.steps import Steps

    Hook: TypeAlias = Callable[..., Any]
    """A plain or asynchronous function; what it returns is thrown away."""

F = TypeVar("F", bound="Callable[..., Any]")

_ERROR = 40
_OPTIONS = {
    RUNNING: "on_running",
    COMPLETED: "on_completion",
    FAILED: "on_failure",
    CANCELLED: "on_cancellation",
    CRASHED: "on_crashed",
}


class Hooks:
    """The hooks of a flow or task.

    Attributes:
        by_option: Lists of hooks in the order of their calls, by the option that names them
            ("on_failure"). The program may change them: `my_flow.on_failure_hooks`.
    """

    __slots__ = ("by_option",)

    def __init__(self, by_option: dict[str, list[Hook]]) -> None:
        self.by_option = by_option

    @property
    def are_of_transactions(self) -> bool:
        """True if a commit or a rollback calls some of them."""
        return bool(self.by_option.get("on_commit") or self.by_option.get("on_rollback"))

    def of(self, option: str) -> tuple[Hook, ...]:
        """The hooks for an option, as they are now; none where it is not given."""
        return tuple(self.by_option.get(option, ()))


def made_hooks(options: Mapping[str, Any]) -> Hooks | None:
    """The record of the hooks that a decorator was given.

    Args:
        options: All its options; those that begin with "on_" are lists of hooks, or None.

    Returns:
        None if there is no hook at all.

    Raises:
        TypeError: An option is no list, or an item cannot be called; the message names it.
    """
    by_option = {
        name: list(checked)
        for name, hooks in options.items()
        if name.startswith("on_") and hooks is not None and (checked := _checked(name, hooks))
    }
    return Hooks(by_option) if by_option else None


def hook_list(definition: Definition, option: str) -> list[Hook]:
    """Return the list of a flow's or task's hooks for an option; what is added to it is called."""
    if definition.hooks is None:
        definition.hooks = Hooks({})
        definition.update_stages()
    return definition.hooks.by_option.setdefault(option, [])


class HookList:
    """`my_flow.on_failure_hooks`: the list of the hooks for an option.

    Args:
        option: The option.
    """

    def __init__(self, option: str) -> None:
        self._option = option

    @overload
    def __get__(self, definition: None, owner: type | None = None) -> HookList: ...
    @overload
    def __get__(self, definition: Definition, owner: type | None = None) -> list[Hook]: ...
    def __get__(self, definition: Any, owner: type | None = None) -> Any:
        """The list of one flow or task."""
        return self if definition is None else hook_list(definition, self._option)

    def __set__(self, definition: Definition, hooks: Any) -> None:
        hook_list(definition, self._option)[:] = _checked(self._option, hooks)


def inherited_hooks(hooks: Hooks | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options for a copy of a flow or task that keeps the hooks it is not given.

    Args:
        hooks: The original's.
        options: What the copy is given; an empty list takes hooks away, None keeps them.
    """
    kept: dict[str, Any] = {}
    if hooks is not None:
        kept = {name: list(of) for name, of in hooks.by_option.items() if options.get(name) is None}
    return {**options, **kept}


def run_hooks(run: Run, io: EngineIO, state: State) -> Steps[None]:
    """Calls the hooks of a run for the state that it has entered, in the order of the list.

    Args:
        run: The run.
        io: The outside world.
        state: What was reported.

    Yields:
        The calls to be made.
    """
    option = _OPTIONS.get(state.type, "")
    if run.definition.hooks is not None and option:
        run.entered = state
        if run.scope.cancelled and state.type in TERMINAL_TYPES:
            # The cancellation that ended the run must not stop what its hooks call.
            run.scope = run.scope.apart()
    return call_hooks(run, io, option, (run.definition, run, state))


class HookStage(Stage):
    """Calls the hooks of a run when it has entered Running and when it has ended."""

    def before_attempt(self, run: Run, io: EngineIO, state: State) -> Steps[None]:
        """Call the hooks for the state Running."""
        return run_hooks(run, io, state)

    def after_end(self, run: Run, io: EngineIO, state: State) -> Steps[None]:
        """Call the hooks for the terminal state."""
        return run_hooks(run, io, state)


HOOKS = HookStage()


def call_hooks(run: Run, io: EngineIO, option: str, args: tuple[Any, ...]) -> Steps[None]:
    """Calls the hooks of one option; what one of them raises is logged.

    Args:
        run: The run, for the hooks and the logs.
        io: The outside world.
        option: The option, for example "on_failure".
        args: What each hook is given.

    Yields:
        The calls to be made.
    """
    hooks = run.definition.hooks
    for hook in hooks.of(option) if hooks is not None else ():
        try:
            yield CallUser(hook, args)
        except Exception as error:  # noqa: BLE001 - user code
            name = called_name(hook)
            io.note(run, _ERROR, f"The {option} hook {name!r} raised:", error)


class HookDecorator:
    """`@my_flow.on_failure`: adds the function to the hooks of the flow or task.

    Args:
        option: Which hooks.
    """

    def __init__(self, option: str) -> None:
        self._option = option

    def __get__(self, definition: Definition | None, owner: type | None = None) -> AddHook:
        """The decorator of one flow or task."""
        return AddHook(definition, self._option)


class AddHook:
    """Decorates a function that is to be a hook, with and without parentheses; returns it.

    Args:
        definition: The flow or task that gets the hook.
        option: Which of its hooks.
    """

    def __init__(self, definition: Definition | None, option: str) -> None:
        self._definition = definition
        self._option = option

    @overload
    def __call__(self, fn: F, /) -> F: ...
    @overload
    def __call__(self, fn: None = None, /) -> AddHook: ...
    def __call__(self, fn: Any = None, /) -> Any:
        """Adds the function.

        Args:
            fn: Called with (flow or task, run, state); plain or asynchronous.

        Returns:
            The function as it is; without one, a decorator.

        Raises:
            TypeError: It cannot be called, or there is no flow or task to add it to.
        """
        if fn is None:
            return self
        if self._definition is None:
            raise TypeError(f"{self._option} is used on a flow or task: @my_flow.{self._option}")
        hook_list(self._definition, self._option).extend(_checked(self._option, [fn]))
        return fn


def _checked(option: str, hooks: object) -> tuple[Hook, ...]:
    if not is_instance(hooks, (list, tuple, set, frozenset)):
        raise TypeError(f"{option} must be a list of functions ({option}=[…]), not {hooks!r}")
    for hook in hooks:
        if not callable(hook):
            raise TypeError(
                f"{option} must be a list of functions that take (flow or task, run, state); "
                f"{hook!r} cannot be called"
            )
    return tuple(hooks)
