"""Functions that reserve what they need before each attempt of their run begins.

The start of a worker process takes about a second, in which the task's function does not run. So a
run on the process pool stays PENDING (or AwaitingRetry) meanwhile, and enters Running when its
worker is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.core.stages import Stage, add_last_stage
from flowspan.core.steps import CallBlocking

if TYPE_CHECKING:
    from flowspan.core.engine import EngineIO
    from flowspan.core.run import Run
    from flowspan.core.states import State
    from flowspan.core.steps import Steps


class ReservingCall:
    """Base class of functions in place of a task's own that reserve something for each call."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function of the task."""
        raise NotImplementedError

    def attach(self, run: Run) -> None:
        """Make a run reserve what it needs before each attempt.

        Args:
            run: The run whose function this is.
        """
        run.remote = self
        add_last_stage(run, _RESERVING)

    def reserve(self, run: Run) -> None:
        """Reserve it for the next call. May block; must not raise an `Exception`.

        Args:
            run: The run.
        """
        raise NotImplementedError

    def release(self) -> None:
        """Give back what was reserved and not needed."""
        raise NotImplementedError


class _Reserving(Stage):
    def before_run(self, run: Run, _io: EngineIO) -> Steps[None]:
        yield CallBlocking(run.remote.reserve, (run,))

    def before_retry(self, run: Run, _io: EngineIO) -> Steps[None]:
        yield CallBlocking(run.remote.reserve, (run,))

    def after_end(self, run: Run, _io: EngineIO, _state: State) -> Steps[None]:
        yield CallBlocking(self.broken_off, (run,))

    def broken_off(self, run: Run) -> None:
        if run.remote is not None:
            run.remote.release()
        run.remote = None  # ended runs do not keep the task runner


_RESERVING = _Reserving()
