"""Commands: requests of the service to an active run, whatever their kind.

A command is decoded once, by the reporter (`flowspan.reporter.commands`), and handled once, by the
run's inbox (`flowspan.drivers.cancellation.control`). All code in between, including the pipe to a
worker process, passes it on unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

CANCEL = "cancel"
"""The kind that cancels a run and all runs that it called. The payload is the reason, a string."""


class Command(NamedTuple):
    """A request to an active run.

    Attributes:
        kind: A constant such as CANCEL, which decides on the handler.
        run_id: The id of the run.
        payload: The arguments of the kind; plain data that can be pickled. None without arguments.
    """

    kind: str
    run_id: str
    payload: Any = None


if TYPE_CHECKING:
    Inbox = Callable[[Command], bool]
    """The receiver of a run's commands, which returns True if blocking code of the run must be
    interrupted for the command. Called in the reporter's thread or, in a worker process, in the
    thread that reads the pipe; must return at once. The same command may arrive again."""
