"""Hooks: user functions that are called when a run has entered a state.

Hooks belong to a flow or task (`Definition.hooks`, None without hooks) and are called in the
process that runs it. `HOOKS` is the stage that yields the calls to the driver. If a hook raises an
exception, it is logged, the other hooks are still called, and the run keeps its state.

A BaseException that is no Exception (Ctrl-C, an exit, the signals that stop a run) ends the hooks
and propagates to the caller of the run.
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
    """A sync or async function; its return value is ignored."""

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
            ("on_failure"). The program may change the lists: `my_flow.on_failure_hooks`.
    """

    __slots__ = ("by_option",)

    def __init__(self, by_option: dict[str, list[Hook]]) -> None:
        self.by_option = by_option

    @property
    def are_of_transactions(self) -> bool:
        """True if a commit or a rollback calls any of them."""
        return bool(self.by_option.get("on_commit") or self.by_option.get("on_rollback"))

    def of(self, option: str) -> tuple[Hook, ...]:
        """Return the current hooks for an option; empty if it has none."""
        return tuple(self.by_option.get(option, ()))


def made_hooks(options: Mapping[str, Any]) -> Hooks | None:
    """Return the hooks among the options of a decorator.

    Args:
        options: All options. Those that begin with "on_" are lists of hooks, or None.

    Returns:
        The hooks; None without any.

    Raises:
        TypeError: An option is not a list, or an item is not callable; the message names it.
    """
    by_option = {
        name: list(checked)
        for name, hooks in options.items()
        if name.startswith("on_") and hooks is not None and (checked := _checked(name, hooks))
    }
    return Hooks(by_option) if by_option else None


def hook_list(definition: Definition, option: str) -> list[Hook]:
    """Return the list of hooks of a flow or task for an option. Hooks added to it are called."""
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
        """Return the list of one flow or task."""
        return self if definition is None else hook_list(definition, self._option)

    def __set__(self, definition: Definition, hooks: Any) -> None:
        hook_list(definition, self._option)[:] = _checked(self._option, hooks)


def inherited_hooks(hooks: Hooks | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for a copy of a flow or task, with the hooks that the copy inherits.

    Args:
        hooks: The hooks of the original.
        options: The options of the copy. An empty list removes hooks, None inherits them.
    """
    kept: dict[str, Any] = {}
    if hooks is not None:
        kept = {name: list(of) for name, of in hooks.by_option.items() if options.get(name) is None}
    return {**options, **kept}


def run_hooks(run: Run, io: EngineIO, state: State) -> Steps[None]:
    """Call the hooks of a run for the state that it has entered, in the order of their list.

    Args:
        run: The run.
        io: The outside world.
        state: The state, which was reported already.

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
    """Call the hooks of one option, and log the exceptions that they raise.

    Args:
        run: The run, for the hooks and the logs.
        io: The outside world.
        option: The option, for example "on_failure".
        args: The arguments of each hook.

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
        option: The option of the hooks.
    """

    def __init__(self, option: str) -> None:
        self._option = option

    def __get__(self, definition: Definition | None, owner: type | None = None) -> AddHook:
        """Return the decorator of one flow or task."""
        return AddHook(definition, self._option)


class AddHook:
    """A decorator that registers a function as a hook and returns it; with or without parentheses.

    Args:
        definition: The flow or task that gets the hook.
        option: The option of the hook.
    """

    def __init__(self, definition: Definition | None, option: str) -> None:
        self._definition = definition
        self._option = option

    @overload
    def __call__(self, fn: F, /) -> F: ...
    @overload
    def __call__(self, fn: None = None, /) -> AddHook: ...
    def __call__(self, fn: Any = None, /) -> Any:
        """Add a function to the hooks.

        Args:
            fn: Called with (flow or task, run, state); sync or async.

        Returns:
            The unchanged function; without one, a decorator.

        Raises:
            TypeError: The function is not callable, or there is no flow or task to add it to.
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
