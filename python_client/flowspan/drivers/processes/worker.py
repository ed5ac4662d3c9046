"""The worker process: it calls functions on behalf of its parent.

The main thread calls them one at a time, so that a signal can interrupt them. A second thread reads
the pipe; a third sends the events.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import OrderedDict
from contextvars import copy_context
from queue import SimpleQueue
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, NoReturn

from flowspan import clock, telemetry
from flowspan.connection.program import set_service_name
from flowspan.core import stand_in
from flowspan.core.keys.qualified_names import set_program_name
from flowspan.core.result_options import ResultPolicy
from flowspan.core.run import current_run
from flowspan.drivers.calls.start import current_tags
from flowspan.drivers.calls.time_skipping import skip
from flowspan.drivers.cancellation.safe_points import calls_user_code, may_interrupt
from flowspan.drivers.cancellation.scope import CancelScope
from flowspan.drivers.cancellation.search import Search
from flowspan.drivers.futures.arguments import settle
from flowspan.drivers.process import ProcessContext, set_process
from flowspan.drivers.processes import pickling
from flowspan.drivers.processes import pipe_messages as messages
from flowspan.drivers.processes.event_sender import Outgoing
from flowspan.drivers.processes.run_snapshot import load_flow_run, load_task_run
from flowspan.drivers.sync_async_bridge import run_coroutine
from flowspan.exceptions import RunSignal
from flowspan.logging import prints
from flowspan.logging.capture import install

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from multiprocessing.connection import Connection
    from types import FrameType

    from flowspan.core.commands import Command, Inbox
    from flowspan.core.run import Run, Scope

    PendingCall = tuple[int, messages.Call, bytes]

_logger = logging.getLogger("flowspan.commands")
_PARENT_CHECK_S = 5.0
_STOP_WAIT_S = 1.0
"""Maximum time for submitted tasks to end when the run is cancelled."""
_FIRST_PUSH_S = 0.05
"""Time for code to notice its cancellation itself (when it calls a task, or waits)."""
_PUSH_S = 0.01
_MAX_FUNCTIONS = 64
MOCKED = "FLOWSPAN__TESTING__MOCKED"
"""The environment variable with the functions that the parent's test mocks; see `stand_in`."""


def main(connection: Connection) -> None:
    """Serve one parent until it sends EXIT or has ended.

    Args:
        connection: The pipe to it. The first message is SETUP; `sys.path` has already been set.
    """
    # The parent handles Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, _path, program, number, config, offset_ns, *told = connection.recv()
    otlp_endpoint, otlp_logs, is_traced = told
    clock.follow(offset_ns)
    sys.argv[:], program_name, service_name = program
    set_program_name(program_name)  # for cache keys: `__main__`'s objects were pickled by value
    set_service_name(service_name)
    telemetry.configure(config, service_endpoint=lambda _timeout_s: otlp_endpoint)
    telemetry.load(continues_spans=is_traced)
    worker = Worker(connection, number)
    process = ProcessContext(
        worker.outgoing.emit,
        flush=worker.outgoing.flush,
        watch_commands=worker.watch_commands,
        forget=worker.forget,
        log_prints=config.logging_log_prints,
        result_policy=ResultPolicy(persist=True) if config.persist_results else None,
        preview_bytes=config.task_parameters_preview,
        wait_stored=worker.outgoing.wait_stored,
    )
    stand_in.refused = frozenset(filter(None, os.environ.get(MOCKED, "").split(",")))
    process.skip = skip if config.skip_retry_delays else None
    set_process(process)
    install(
        worker.outgoing.emit,
        config.logging_level,
        console=config.logging_to_console,
        extra_loggers=config.logging_extra_loggers,
        colours=config.logging_colors,
        export=telemetry.log_export(lambda _timeout_s: otlp_logs, config.otlp_endpoint),
    )
    signal.signal(signal.SIGTERM, worker.on_sigterm)
    worker.serve()


class Worker:
    """A server for the calls of its parent process.

    Args:
        connection: The pipe to it.
        number: The number of this worker, from 1.

    Attributes:
        outgoing: The channel for messages to the parent.
    """

    def __init__(self, connection: Connection, number: int) -> None:
        self.outgoing = Outgoing(connection)
        self._connection = connection
        self._number = number
        self._calls: SimpleQueue[PendingCall | None] = SimpleQueue()
        self._functions: OrderedDict[bytes, Any] = OrderedDict()
        self._flow_runs: dict[str, Run] = {}
        self._inboxes: dict[str, Inbox] = {}
        self._search = Search()
        self._parent_id = os.getppid()
        self._lock = threading.Lock()
        self._call_id = 0
        """The current call; 0 if there is no call."""
        self._scope = CancelScope()
        self._is_initialized = False
        self._pushes = 0
        """The number of threads that are interrupting code."""
        self._is_plain = False
        """True while the main thread is in a sync function, which a signal may interrupt."""
        self._told: set[Scope] = set()
        """Cancelled scopes of this call whose code has already been interrupted."""

    def serve(self) -> None:
        """Perform calls until the parent sends EXIT or has ended."""
        threading.Thread(target=self._read, name="flowspan-pipe", daemon=True).start()
        self.outgoing.start()
        self.outgoing.send((messages.READY,))
        while True:
            pending = self._calls.get()
            if pending is None:
                break
            self._do(*pending)
        self.outgoing.send_events()

    def watch_commands(self, run_id: str, inbox: Inbox) -> None:
        """Deliver the service's commands to a run, which come through the parent, to its inbox."""
        self._inboxes[run_id] = inbox
        self.outgoing.emit((messages.WATCH, run_id))

    def forget(self, run_id: str) -> None:
        """Stop watching a run; see `ProcessContext.forget`."""
        self._inboxes.pop(run_id, None)
        self.outgoing.emit((messages.FORGET, run_id))

    def on_sigterm(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the code of a cancelled run; otherwise end the process, as SIGTERM does."""
        if not self._pushes and not self._scope.cancelled:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        run = current_run.get()
        if run is None or not run.scope.cancelled or run.scope in self._told:
            return
        # Not if the code has already noticed, and is cleaning up.
        if self._is_plain and not isinstance(sys.exception(), RunSignal) and may_interrupt(frame):
            self._told |= {run.scope, self._scope} if self._scope.cancelled else {run.scope}
            run.scope.check()

    def _do(self, call_id: int, call: messages.Call, payload: bytes) -> None:
        try:
            value = copy_context().run(self._call, call, payload)
            kind, answer = messages.VALUE, pickling.dump_result(call.who, value)
            del value
        except BaseException as error:  # the engine in the parent classifies it
            if self.outgoing.is_forked:
                raise
            kind, answer = messages.ERROR, pickling.dump_error(error)
        if self.outgoing.is_forked:  # the function forked, and the child returned from it, too
            sys.exit()
        with self._lock:
            self._call_id = 0
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the stream may be closed or replaced
                stream.flush()
        self.outgoing.send((kind, call_id), answer)

    @calls_user_code
    def _call(self, call: messages.Call, payload: bytes) -> Any:
        # First, as only this call may contain it: a load error further down must not lose it.
        flow_run = self._flow_run(call)
        if call.initializer is not None:
            self._initialize(*call.initializer)
        fn = self._function(call.fn)
        args, kwargs = pickling.load_call(payload)
        run = load_task_run(call.run, flow_run)
        run.definition.fn, run.args, run.kwargs = fn, args, kwargs
        current_tags.set(call.tags)
        if run.log_prints:
            prints.install()
        current_run.set(run)
        if call.carrier is None:
            return self._call_to_the_end(flow_run, call, fn, args, kwargs)
        span = telemetry.make_remote_span(call.carrier)
        run.span = span
        token = span.enter()
        try:
            return self._call_to_the_end(flow_run, call, fn, args, kwargs)
        finally:
            span.leave(token)

    @calls_user_code
    def _initialize(self, function: bytes, arguments: bytes) -> None:
        """Call the initializer of the runner, unless this worker has already called it."""
        if self._is_initialized:
            return
        args, kwargs = pickling.load_call(arguments)
        pickling.load_function(function)(*args, **kwargs)
        self._is_initialized = True

    @calls_user_code
    def _call_to_the_end(
        self,
        flow_run: Run,
        call: messages.Call,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Call the function, and wait for its submitted tasks, so that they are reported first."""
        scope = self._scope
        try:
            scope.check()
            if call.is_async:
                value = run_coroutine(_awaited(scope, fn(*args, **kwargs)))
            else:
                value = self._call_plain(fn, args, kwargs)
            value = settle(value)
            if flow_run.task_runner is not None:
                flow_run.task_runner.wait()
        finally:
            runner, flow_run.task_runner = flow_run.task_runner, None
            if runner is not None:
                if scope.cancelled:
                    runner.cancel()
                runner.wait(_STOP_WAIT_S if scope.cancelled else None)
                runner.close()
        return value

    @calls_user_code
    def _call_plain(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self._is_plain = True
        try:
            value = fn(*args, **kwargs)
            return list(value) if type(value) is GeneratorType else value
        finally:
            self._is_plain = False

    def _function(self, data: bytes) -> Any:
        """Return the function of a call; equal bytes give the same object again."""
        fn = self._functions.get(data)
        if fn is None:
            fn = self._functions[data] = pickling.load_function(data)
            if len(self._functions) > _MAX_FUNCTIONS:
                self._functions.popitem(last=False)
        else:
            self._functions.move_to_end(data)
        return fn

    def _flow_run(self, call: messages.Call) -> Run:
        if call.flow_run is not None:
            run = load_flow_run(call.flow_run, self._scope, self._number)
            self._flow_runs = {call.flow_run_key: run}
        run = self._flow_runs[call.flow_run_key]
        run.scope = self._scope
        return run

    def _read(self) -> None:
        """Read the parent's messages, in a dedicated thread."""
        while True:
            try:
                while not clock.wait_readable(self._connection.fileno(), _PARENT_CHECK_S):
                    if os.getppid() != self._parent_id:
                        _die()
                message = pickle.loads(self._connection.recv_bytes())  # noqa: S301 - the parent
                payload = self._connection.recv_bytes() if message[0] == messages.CALL else b""
            except (EOFError, OSError):
                _die()
            except BaseException:  # noqa: BLE001 - a worker that cannot read must not continue
                traceback.print_exc()
                _die()
            if message[0] == messages.EXIT:
                self._calls.put(None)
                return
            self._take(message, payload)

    def _take(self, message: tuple[Any, ...], payload: bytes) -> None:
        kind, *rest = message
        if kind == messages.CALL:
            call_id, call = rest
            # Before the call begins, as a STOP for it may arrive first.
            with self._lock:
                self._scope, self._told, self._call_id = CancelScope(), set(), call_id
            self._calls.put((call_id, call, payload))
        elif kind == messages.STOP:
            self._stop(*rest)
        elif kind == messages.FLUSHED:
            self.outgoing.flushed(rest[0])
        elif kind == messages.COMMAND:
            self._deliver(rest[0])

    def _stop(self, call_id: int, reason: str, deadline_of: str) -> None:
        with self._lock:
            if call_id != self._call_id:
                return
            scope = self._scope
        scope.cancel(reason, deadline_of)
        self._push(call_id, lambda: scope in self._told)

    def _deliver(self, command: Command) -> None:
        run_id, call_id = command.run_id, self._call_id
        inbox = self._inboxes.get(run_id)
        if not call_id:
            return
        if inbox is None:
            self._search.ask(command)
            return
        try:
            must_interrupt = inbox(command)
        except Exception:  # this thread must keep reading the pipe
            _logger.exception("run %s failed to handle %r", run_id, command.kind)
            return
        if must_interrupt:
            self._push(call_id, lambda: run_id not in self._inboxes)

    def _push(self, call_id: int, is_over: Callable[[], bool]) -> None:
        """Interrupt sync code repeatedly, also in a system call, until it notices."""

        def push() -> None:
            wait_s = _FIRST_PUSH_S
            pause = threading.Event()
            while not pause.wait(wait_s):
                with self._lock:
                    if call_id != self._call_id or is_over():
                        self._pushes -= 1
                        return
                    if self._is_plain:
                        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                wait_s = _PUSH_S

        with self._lock:
            self._pushes += 1
        try:
            threading.Thread(target=push, name="flowspan-push", daemon=True).start()
        except RuntimeError:  # the system has no more threads
            with self._lock:
                self._pushes -= 1


async def _awaited(scope: CancelScope, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Await a coroutine, which is cancelled with the scope."""
    import asyncio  # noqa: PLC0415 - most programs do not need it

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - this is a coroutine
    scope.add_interrupt(task, lambda: loop.call_soon_threadsafe(task.cancel))
    try:
        value = await coroutine
        if type(value) is GeneratorType:
            return list(value)
        if type(value) is AsyncGeneratorType:
            return [each async for each in value]
        return value
    except asyncio.CancelledError:
        scope.check()
        raise
    finally:
        scope.remove_interrupt(task)


def _die() -> NoReturn:
    """Kill this process and its children, because the parent is gone."""
    with contextlib.suppress(OSError):
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
    os._exit(1)
