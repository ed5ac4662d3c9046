"""The message protocol of the pipe between a process and its workers.

Each message is a pickled tuple whose first item is one of the codes below. Some are followed by a
payload in a separate frame, which saves one copy of large data.

To the worker:

- ``(SETUP, sys_path, (sys_argv, program_name, service_name), number, config, clock_offset_ns,
  otlp_endpoint, otlp_logs, is_traced)``
- ``(CALL, call_id, call)``, a `Call`; then the pickled ``(args, kwargs)``
- ``(STOP, call_id, reason, deadline_of)``: cancels the call, like `CancelScope.cancel`
- ``(COMMAND, command)``: a `Command` of the service to a run that the worker watches
- ``(FLUSHED, number)``: the answer to FLUSH
- ``(EXIT,)``

To the parent:

- ``(READY,)``
- ``(EVENTS, events)``: events in the shapes of `flowspan.core.events`, and among them
  ``(WATCH, run_id)`` and ``(FORGET, run_id)``
- ``(FLUSH, number)``: requests that all preceding events are acknowledged or spooled
- ``(VALUE, call_id)`` or ``(ERROR, call_id)``; then the pickled return value or exception
"""

from __future__ import annotations

from typing import NamedTuple

SETUP = "setup"
CALL = "call"
STOP = "stop"
COMMAND = "command"
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
    """A function call in a worker.

    Attributes:
        fn: The pickled function.
        is_async: True if calling it returns a coroutine.
        who: The name of the task in errors, as in "Task 'load'".
        run: The pickled run of the call (a `PortableRun`).
        flow_run: The pickled flow run that it belongs to; None if the worker has it already.
        flow_run_key: The key under which the worker stores the flow run.
        tags: The tags of enclosing `with tags(...)` blocks.
        carrier: The span that becomes current; see flowspan.telemetry.propagation. None without.
        initializer: The pickled initializer and its arguments, for the first call in a worker; None
            if there is no initializer or the worker has called it.
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
