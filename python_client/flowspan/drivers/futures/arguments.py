"""Futures and states in the arguments of a call, and their replacement by results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowspan.core.states import COMPLETED, State
from flowspan.core.values.annotations import Annotation, allow_failure, opaque
from flowspan.core.values.inspection import is_instance, shown
from flowspan.core.values.traversal import find, is_plain, replace
from flowspan.drivers.futures.future import TaskFuture, wait_until_done
from flowspan.exceptions import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

_KINDS = (TaskFuture, State, Annotation)
UPSTREAM = (TaskFuture, State)


def has_upstream(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return True if the arguments contain a future, a state or an annotation at any depth."""
    if is_plain(args) and (not kwargs or is_plain(kwargs.values())):
        return False
    return bool(find((args, kwargs), _KINDS))


def given_upstream(wait_for: Any) -> tuple[Any, ...]:
    """Return the items of a call's `wait_for`: a collection, or a single future or state.

    Raises:
        TypeError: It is neither.
    """
    if wait_for is None:
        return ()
    if is_instance(wait_for, (*_KINDS, Mapping)):
        return (wait_for,)
    try:
        items = iter(wait_for)
    except TypeError:
        raise TypeError(
            f"wait_for takes futures and states, alone or in a list, not {shown(wait_for)}"
        ) from None
    return tuple(item for item in items)  # `tuple(items)` might call `__length_hint__`


def upstream_in(*values: Any) -> list[TaskFuture[Any] | State]:
    """Return the futures and states at any depth, also inside annotations except `opaque`."""
    found: list[TaskFuture[Any] | State] = []
    for item in find(values, _KINDS):
        if is_instance(item, opaque):
            continue
        if is_instance(item, Annotation):
            found += upstream_in(item.unwrap())
        else:
            found.append(item)
    return found


def futures_in(*values: Any) -> list[TaskFuture[Any]]:
    """Return the futures at any depth, also inside annotations except `opaque`."""
    return [item for item in upstream_in(*values) if is_instance(item, TaskFuture)]


def pending_in(*values: Any) -> tuple[TaskFuture[Any], ...]:
    """Return the futures that have not ended, in the values and in the results they stand for."""
    pending: dict[int, TaskFuture[Any]] = {}
    seen: set[int] = set()
    stack: list[Any] = upstream_in(*values)
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if is_instance(item, TaskFuture) and not item.done():
            pending[id(item)] = item
            continue
        state = item.state if is_instance(item, TaskFuture) else item
        if state.holds_upstream and state.type is COMPLETED:
            data = state.data
            if not is_instance(data, UPSTREAM):  # a returned future or state is passed on unchanged
                stack += find(data, UPSTREAM)
    return tuple(pending.values())


def resolve(value: Any) -> Any:
    """Replace futures, which must have ended, and states by their results.

    Raises:
        UpstreamFailed: One of them did not complete.
    """
    return replace(value, _KINDS, _result_of)


def resolve_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Iterable[Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Exception | None]:
    """Replace futures, which must have ended, and states in the arguments of a call by results.

    Args:
        args: The positional arguments.
        kwargs: The keyword arguments.
        wait_for: Additional upstream runs that must have completed.

    Returns:
        The arguments, and the error that blocks the call (mostly UpstreamFailed), or None.
    """
    try:
        for item in wait_for:
            resolve(item)
        args, kwargs = resolve((args, kwargs))
    except UpstreamFailed as error:
        # Drop flowspan's own traceback; the cause shows where the upstream run failed.
        return args, kwargs, error.with_traceback(None)
    except Exception as error:  # noqa: BLE001 - copying containers may run user code
        return args, kwargs, error
    return args, kwargs, None


def holds_upstream(value: Any) -> bool:
    """Return True if a function's return value contains a future or a state at any depth."""
    return bool(find(value, UPSTREAM))


def settle(value: Any) -> Any:
    """Wait for the futures in a function's return value, and replace them by their states.

    For flows. The caller of a task gets the returned futures if the task runs in this process.
    """
    futures = find(value, (TaskFuture,))
    if not futures:
        return value
    wait_until_done(tuple(futures))
    return replace(value, (TaskFuture,), lambda future: future.state)


def settle_to_results(value: Any) -> Any:
    """Wait for the futures in a value, and replace them by their results.

    Raises:
        UpstreamFailed: A run did not complete.
    """
    futures = find(value, (TaskFuture,))
    if not futures:
        return value
    wait_until_done(tuple(futures))
    return replace(value, (TaskFuture,), _result_of)


def _result_of(item: Any) -> Any:
    if is_instance(item, opaque):
        return item.unwrap()
    if is_instance(item, allow_failure):
        return replace(item.unwrap(), _KINDS, _result_or_error)
    if is_instance(item, Annotation):
        return resolve(item.unwrap())
    state = item.state if is_instance(item, TaskFuture) else item
    if state.type is COMPLETED:
        return _result_in(state)
    which = f"Task run {item.run.record.run_name!r}" if is_instance(item, TaskFuture) else "A run"
    message = f": {state.message}" if state.message else "."
    error = UpstreamFailed(f"{which}, whose result is needed, ended as {state.name}{message}")
    error.__cause__ = state.error()
    raise error


def _result_in(state: State) -> Any:
    """Return the result of a run, with futures and states in a collection resolved."""
    data = state.data
    if not state.holds_upstream or is_instance(data, UPSTREAM):
        return data
    return replace(data, UPSTREAM, _result_of)


def _result_or_error(item: Any) -> Any:
    if is_instance(item, opaque):
        return item.unwrap()
    if is_instance(item, Annotation):
        return replace(item.unwrap(), _KINDS, _result_or_error)
    state = item.state if is_instance(item, TaskFuture) else item
    return _result_in(state) if state.type is COMPLETED else state.error()
