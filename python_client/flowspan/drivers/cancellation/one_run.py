"""Cancellation of one run without its caller, also if it shares the scope of its caller."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flowspan.drivers.cancellation.live_runs import live_runs
from flowspan.drivers.cancellation.scope import CancelScope, cancel_all, separate

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.run import Run


def cancel_run(run: Run, reason: str) -> None:
    """Cancel a run and all runs that it called. May be called from any thread.

    A direct call ends at its next safe point and raises CancelRun in its caller, as a cancelled
    nested flow does.

    Args:
        run: The run.
        reason: The reason, for people.
    """
    if not run.definition.is_flow and run.state.is_final():
        return  # only its last hooks are running
    shared = run.scope
    if run.parent is None or shared is not run.parent.scope:
        shared.cancel(reason)
        return
    if shared.cancelled:
        return
    assert isinstance(shared, CancelScope)  # noqa: S101 - for mypy; there is no other class
    family = [each for each in live_runs() if _is_within(each, run.record.id)]
    own = separate(family, shared)
    _interrupt_with(own, run)
    # Runs below that have scopes of their own: submitted ones, nested flows, attempts.
    others = {each.scope: None for each in family if each.scope is not own}
    cancel_all((own, *others), reason)  # type: ignore[arg-type] # as above


def _is_within(run: Run, run_id: str) -> bool:
    """Return True if a run has this id, or was called by the run with this id."""
    each: Run | None = run
    while each is not None:
        if each.record.id == run_id:
            return True
        each = each.parent
    return False


def _interrupt_with(scope: CancelScope, run: Run) -> None:
    """Interrupt what a run awaits when its new scope is cancelled."""
    task: Any = run.asyncio_task
    if task is None:
        return

    def cancel() -> None:
        # The asyncio task may be past the run, or in its last hooks.
        here: Any = run.asyncio_task
        if here is task and not run.state.is_final():
            task.cancel()

    def interrupt() -> None:
        with suppress(RuntimeError):  # the loop was closed, so the run has ended
            call: Callable[..., object] = task.get_loop().call_soon_threadsafe
            call(cancel)

    scope.add_interrupt(task, interrupt, run.record.id)
