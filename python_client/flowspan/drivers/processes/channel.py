"""What goes over the pipe between a process and its workers.

Each message is a pickled tuple whose first item is one of the codes below; some are followed by a
payload, a frame of its own, so that what is large is not copied once more.

To the worker:

- ``(SETUP, sys_path, (sys_argv, program_name), number, config, clock_offset_ns, otlp_endpoint)``
- ``(CALL, call_id, call)``, a `Call`; then the pickled ``(args, kwargs)``
- ``(STOP, call_id, reason, deadline_of)``: as `CancelScope.cancel`
- ``(CANCEL, run_id, reason)``: the service asks to cancel a run that the worker watches
- ``(FLUSHED, number)``: the answer to FLUSH
- ``(EXIT,)``

To the parent:

- ``(READY,)``
- ``(EVENTS, events)``: events as `flowspan.core.events` has them, and among them
  ``(WATCH, run_id)`` and ``(FORGET, run_id)``
- ``(FLUSH, number)``: asks for all events before it to be acked or spooled
- ``(VALUE, call_id)`` or ``(ERROR, call_id)``; then what the function returned or raised, pickled
"""

from __future__ import annotations

from typing import NamedTuple

SETUP = "setup"
CALL = "call"
STOP = "stop"
CANCEL = "cancel"
FLUSHED = "flushed"
EXIT = "exit"

READY = "ready"
EVENTS = "events"
FLUSH = "flush"
VALUE = "value"
ERROR = "error"

WATCH = "watch"
FORGET = "forget"


class Call(NamedTuple):
    """The call of a function.

    Attributes:
        fn: The function, pickled.
        is_async: Whether calling it gives a coroutine.
        who: The task, for errors, as in "Task 'load'".
        run: The run that it is called for, pickled (a `PortableRun`).
        flow_run: The flow run that it belongs to, likewise; None if the worker knows it.
        flow_run_key: What the worker remembers the flow run by.
        tags: Those of `with tags(...)`.
        carrier: The span to be the current one; see flowspan.telemetry.propagation. None without.
        initializer: The function to call before, once in a worker, and its arguments, pickled; None
            if there is none or the worker has called it.
    """

    fn: bytes
    is_async: bool
    who: str
    run: bytes
    flow_run: bytes | None
    flow_run_key: str
    tags: tuple[str, ...]
    carrier: dict[str, str] | None
    initializer: tuple[bytes, bytes] | None = None
