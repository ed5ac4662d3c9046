"""Deadlock detection for runs that wait on each other's results.

The wait graph consists of the futures that the code of a run waits for, the futures that a
submitted run needs before it begins, and the runs that a run blocks. Two kinds of waits cannot
deadlock and are ignored: waits with a timeout, and waits outside the run's asyncio task or thread.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flowspan.core.run import current_run
from flowspan.drivers.sync_async_bridge import current_asyncio_task
from flowspan.exceptions import SelfDependency

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowspan.core.run import Run
    from flowspan.drivers.futures.future import TaskFuture

    Futures = tuple[TaskFuture[Any], ...]

_lock = threading.RLock()
"""Re-entrant, because a garbage-collected generator ends its run in whatever thread collects it."""
_waits: dict[str, list[Futures]] = {}
"""The futures that the code of each run waits for, by run id."""


@contextmanager
def waiting_for(futures: Futures) -> Iterator[None]:
    """Register a wait of the current run, without a timeout, for the duration of the block.

    Raises:
        SelfDependency: A future cannot end before the current run does.
    """
    run = current_run.get()
    held_up = {} if run is None else _held_up_by(run, current_asyncio_task())
    if run is None or not held_up:
        yield
        return
    with _lock:
        for run_id in held_up:
            _waits.setdefault(run_id, []).append(futures)
        try:
            _check(run, held_up, futures)
        except SelfDependency:
            _forget(held_up, futures)
            raise
    try:
        yield
    finally:
        with _lock:
            _forget(held_up, futures)


def check_needs(run: Run, futures: Futures) -> None:
    """Check the upstream futures of a submitted run for a deadlock.

    Raises:
        SelfDependency: A future cannot end before this run does.
    """
    with _lock:
        _check(run, _held_up_by(run, None, has_begun=False), futures)


def _forget(held_up: Iterable[str], futures: Futures) -> None:
    for run_id in held_up:
        waits = _waits[run_id]
        waits[:] = [other for other in waits if other is not futures]
        if not waits:
            del _waits[run_id]


def _held_up_by(run: Run, asyncio_task: object, *, has_begun: bool = True) -> dict[str, Run]:
    """Return the run and all runs that cannot end before it does, by id.

    Args:
        run: The run.
        asyncio_task: The asyncio task of the calling code, or None.
        has_begun: True if the run has begun.
    """
    held_up: dict[str, Run] = {}
    here: Run | None = run
    while here is not None:
        is_async = here.definition.is_async and has_begun
        if is_async and (here.asyncio_task is None or here.asyncio_task is not asyncio_task):
            break  # Its other asyncio tasks may still make progress.
        held_up[here.record.id] = here
        if here.is_submitted and here.flow_run is not None:
            # Its caller does not wait for it, but its flow run ends only after it.
            here = here.flow_run
            held_up[here.record.id] = here
            asyncio_task = here.asyncio_task
        elif here.is_submitted:
            break
        here, has_begun = here.parent, True
    return held_up


def _check(run: Run, held_up: dict[str, Run], futures: Futures) -> None:
    path: dict[int, TaskFuture[Any] | None] = {id(future): None for future in futures}
    stack = [future for future in futures if not future.done()]
    while stack:
        future = stack.pop()
        if future.run.record.id in held_up:
            raise SelfDependency(_message(run, held_up, future, path))
        further = list(future.needs)
        for waits in _waits.get(future.run.record.id, ()):
            further += waits
        for other in further:
            if id(other) not in path and not other.done():
                path[id(other)] = future
                stack.append(other)


def _message(
    run: Run,
    held_up: dict[str, Run],
    last: TaskFuture[Any],
    path: dict[int, TaskFuture[Any] | None],
) -> str:
    names = []
    future: TaskFuture[Any] | None = last
    while future is not None:
        names.append(repr(future.run.record.run_name))
        future = path[id(future)]
    who = f"{run.definition.kind} run {run.record.run_name!r}"
    if len(names) == 1 and last.run.record.id == run.record.id:
        return f"{who} waits for itself: a deadlock. Do not pass it its own future."
    chain = ", which waits for ".join(reversed(names))
    if last.run.record.id != run.record.id:
        chain += f", which cannot end before {run.record.run_name!r} does"
    return (
        f"{who} depends on itself: it waits for {chain}. Break the deadlock: one of them must not "
        "wait for the result."
    )


def _renew_lock() -> None:
    """Replace the lock in a forked child: a thread of the parent may have held it."""
    global _lock  # noqa: PLW0603 - one per process
    _lock = threading.RLock()
    _waits.clear()


os.register_at_fork(after_in_child=_renew_lock)
