"""Computation of run names, in the run's own context and before the run is reported."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from flowspan.core.engine import EngineIO, announce
from flowspan.core.held_events import current_hold
from flowspan.core.run import current_run
from flowspan.core.run_names import call_name_function, made_run_name, receiver_of
from flowspan.drivers import process as hosts
from flowspan.drivers.cancellation.safe_points import calls_user_code
from flowspan.drivers.process import ProcessContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.events import Event
    from flowspan.core.run import Run

calls_user_code(made_run_name)
calls_user_code(call_name_function)


class HeldContext(ProcessContext):
    """A process context that holds events back until `release`, and then passes them on.

    Args:
        process: The process context that it replaces.
    """

    __slots__ = ("_events", "_order", "_process")

    def __init__(self, process: ProcessContext) -> None:
        EngineIO.__init__(self, self._emit, process.now_ns, process.uniform, process.note)
        self.skip = process.skip
        for name in ProcessContext.__slots__:
            setattr(self, name, getattr(process, name))
        self.task_runner = None
        self._process = process
        self._events: list[Event] | None = []
        self._order = threading.RLock()

    def release(self, before: Callable[[], object]) -> None:
        """Pass the held events on.

        Args:
            before: Reports what must precede them.
        """
        with self._order:
            before()
            events, self._events = self._events or [], None
            for event in events:
                self._process.emit(event)

    def _emit(self, event: Event) -> None:
        with self._order:
            if self._events is not None:
                self._events.append(event)
                return
        # Runs that began in the meantime continue to use this process context.
        self._process.emit(event)


@calls_user_code
def announce_named(
    process: ProcessContext, run: Run, template: str | Callable[..., str], option: str
) -> None:
    """Compute the name of a run in the run's own context, and announce the run.

    An exception becomes `run.begin_error`, and the function of the run is not called. If the name
    has no visible character, the run keeps its default name.

    Args:
        process: The process context.
        run: The run, with its arguments and a default name.
        template: A template, or a function that returns the name.
        option: The name of the option in errors.
    """
    hold = HeldContext(process)
    try:
        name = _made_inside(hold, run, template, option)
    except BaseException as error:  # noqa: BLE001 - raised by user code; it ends the run
        run.begin_error = error
    else:
        if name.strip():
            run.record.run_name = name
            if run.span is not None:
                run.span.named(name)
    hold.release(lambda: announce(run, process))


@calls_user_code
def _made_inside(
    hold: HeldContext, run: Run, template: str | Callable[..., str], option: str
) -> str:
    hosts.begin_hold()
    held = current_hold.set(hold)
    current = current_run.set(run)
    token = run.span.enter() if run.span is not None else None
    try:
        arguments = run.arguments or {}
        receiver = receiver_of(run.definition.fn)
        return made_run_name(template, {**receiver, **arguments} if receiver else arguments, option)
    finally:
        if run.span is not None:
            run.span.leave(token)
        current_run.reset(current)
        current_hold.reset(held)
        hosts.end_hold()
