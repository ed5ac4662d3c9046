"""Futures and states in the arguments of a call: waited for, and replaced by their results."""

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
    """True if there is a future, a state or an annotation anywhere in the arguments."""
    if is_plain(args) and (not kwargs or is_plain(kwargs.values())):
        return False
    return bool(find((args, kwargs), _KINDS))


def given_upstream(wait_for: Any) -> tuple[Any, ...]:
    """Return what a call was given as `wait_for`: a collection, or one future or state by itself.

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
    return tuple(item for item in items)  # `tuple(items)` might ask for the length


def upstream_in(*values: Any) -> list[TaskFuture[Any] | State]:
    """The futures and states anywhere in the values, also inside of annotations but `opaque`."""
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
    """The futures anywhere in the values, also inside of annotations."""
    return [item for item in upstream_in(*values) if is_instance(item, TaskFuture)]


def pending_in(*values: Any) -> tuple[TaskFuture[Any], ...]:
    """The futures that have not ended, anywhere in the values or in the results they stand for."""
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
            if not is_instance(data, UPSTREAM):  # that is passed on as it is
                stack += find(data, UPSTREAM)
    return tuple(pending.values())


def resolve(value: Any) -> Any:
    """The value with results in the place of futures, which have ended, and of states.

    Raises:
        UpstreamFailed: One of them did not complete.
    """
    return replace(value, _KINDS, _result_of)


def resolve_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Iterable[Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Exception | None]:
    """The arguments of a call with results in the place of futures, which have ended.

    Args:
        args: The positional arguments.
        kwargs: The keyword arguments.
        wait_for: What must have completed besides.

    Returns:
        The arguments; and what is in the way of the call, UpstreamFailed in most cases, or None.
    """
    try:
        for item in wait_for:
            resolve(item)
        args, kwargs = resolve((args, kwargs))
    except UpstreamFailed as error:
        # Where in flowspan it was found helps nobody; its cause says where the other run failed.
        return args, kwargs, error.with_traceback(None)
    except Exception as error:  # noqa: BLE001 - copies containers, which may be user code
        return args, kwargs, error
    return args, kwargs, None


def holds_upstream(value: Any) -> bool:
    """True if there is a future or a state anywhere in what a function returned."""
    return bool(find(value, UPSTREAM))


def settle(value: Any) -> Any:
    """Wait for the futures in what a function returned, and put their states in their place.

    For flows. A task's caller gets the futures that it returned, if it runs in this process.
    """
    futures = find(value, (TaskFuture,))
    if not futures:
        return value
    wait_until_done(tuple(futures))
    return replace(value, (TaskFuture,), lambda future: future.state)


def settle_to_results(value: Any) -> Any:
    """Return a value with results in the place of futures; waits for them.

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
    """The result of a run, with results in the place of futures and states in a collection."""
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
