"""The parent's handle of one worker process: starting it, calling functions in it, ending it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any, NamedTuple

from flowspan import clock, config, telemetry
from flowspan.connection.process_resource import service_name_for_children
from flowspan.core.keys.qualified_names import program_name
from flowspan.core.states import CANCELLED, CRASHED
from flowspan.drivers.processes import pipe_messages as messages
from flowspan.drivers.processes.event_relay import Relay
from flowspan.exceptions import WorkerProcessDied

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from flowspan.core.commands import Command
    from flowspan.core.run import Run
    from flowspan.drivers.process import ProcessContext
    from flowspan.drivers.processes.pipe_messages import Call

START_TIMEOUT_S = 60.0
CANCEL_GRACE_S = 3.0
"""Grace period for code that was asked to stop, before its process is killed. Shorter than the wait
of an interrupted flow for its tasks."""
DEADLINE_GRACE_S = 1.0
EXIT_TIMEOUT_S = 5.0
_DEATH_WAIT_S = 5.0
_REAP_TIMEOUT_S = 10.0

# The main module is not run again: its functions and classes are sent to workers by value.
_PROGRAM = """'flowspan worker'
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
sys.path[:] = connection.recv()
from flowspan.drivers.processes.worker import main
main(connection)
"""


class Answer(NamedTuple):
    """The outcome of a call.

    Attributes:
        is_error: True if the function raised.
        payload: The pickled return value or exception; None if the process was killed.
        is_late: True if the deadline had passed.
    """

    is_error: bool
    payload: bytes | None
    is_late: bool = False


class WorkerHandle:
    """A worker process.

    Args:
        host: The parent's process context.
        number: Its number in the pool, from 1.

    Attributes:
        known_flow_run: The key of the flow run that the worker already has.
        is_initialized: True if it has certainly called the initializer of its runner.
        is_spent: True if it must not be used again: it is gone, or code in it was interrupted,
            which may have left an undefined state.
        was_killed: True if the parent killed it.
    """

    def __init__(self, host: ProcessContext, number: int) -> None:
        self.known_flow_run = ""
        self.is_initialized = False
        self.is_spent = False
        self.was_killed = False
        self._host = host
        self._relay = Relay(host, self._deliver)
        self._sending = threading.Lock()
        self._call_id = 0
        self._owner_id = os.getpid()
        self._connection, its_end = Pipe()
        try:
            self._process = _start(its_end)
        except BaseException:
            self._connection.close()
            raise
        finally:
            its_end.close()
        self._set_up(number)
        self._relay.open()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_ours(self) -> bool:
        """True if this process started it. A forked child must leave it alone."""
        return os.getpid() == self._owner_id

    def is_alive(self) -> bool:
        """Return True if it can take another call."""
        return self.is_ours and not self.is_spent and self._process.poll() is None

    def call(self, call: Call, payload: bytes, run: Run) -> Answer:
        """Call a function in the worker, and relay the events that it reports in the meantime.

        Args:
            call: The call.
            payload: The pickled arguments.
            run: The run of the call. Cancelling it cancels the call. If its deadline passes, the
                process is killed soon afterwards.

        Raises:
            WorkerProcessDied: The process ended unexpectedly before the call did.
            CancelRun, DeadlinePassed: The scope of the run was cancelled before the call, or the
                process had to be killed for it.
        """
        self._call_id += 1
        ended = threading.Event()
        call_id = self._call_id
        scope, timeout_s, run_id = run.scope, run.definition.timeout_s, run.record.id

        def stop_with_scope() -> None:
            self._stop(call_id, ended, scope.reason, _deadline_of(scope), CANCEL_GRACE_S)

        scope.check()
        self._relay.caller = run
        try:
            self._send((messages.CALL, call_id, call), payload)
            # Not earlier: a STOP before its call would be unknown to the worker.
            scope.add_interrupt(ended, stop_with_scope)
            if call.flow_run is not None:
                self.known_flow_run = call.flow_run_key
            deadline = None if timeout_s is None else clock.monotonic() + timeout_s
            return self._receive(deadline) or self._end_late(call_id, ended, timeout_s, run_id)
        except (EOFError, OSError) as error:
            self.is_spent = True
            if scope.cancelled:
                self._bury(f"Stopped: {scope.reason}", is_asked_for=True)
                scope.check()
            raise self._death() from error
        except BaseException:
            self._kill()
            self._bury("Its worker process was killed.", is_asked_for=True)
            raise
        finally:
            ended.set()
            self._relay.caller = None
            scope.remove_interrupt(ended)
            if scope.cancelled:
                self.is_spent = True

    def _end_late(
        self, call_id: int, ended: threading.Event, timeout_s: float | None, run_id: str
    ) -> Answer:
        """Handle a passed deadline: give the call a moment to clean up, then kill the process."""
        self.is_spent = True
        reason = f"Its timeout of {timeout_s:g} s has passed."
        self._stop(call_id, ended, reason, run_id, DEADLINE_GRACE_S)
        try:
            answer = self._receive(None)
            assert answer is not None  # noqa: S101 - None only with a deadline
            return answer._replace(is_late=True)
        except (EOFError, OSError):
            self._bury(f"Stopped: {reason}", is_asked_for=True)
            return Answer(is_error=True, payload=None, is_late=True)

    def say_exit(self) -> None:
        """Ask the process to exit when it is idle."""
        with contextlib.suppress(OSError):
            self._send((messages.EXIT,))

    def end(self, timeout_s: float = EXIT_TIMEOUT_S) -> None:
        """Wait for the exit of a process after `say_exit`; kill it after the timeout."""
        if not self.is_ours:
            return
        deadline = clock.monotonic() + timeout_s
        with contextlib.suppress(EOFError, OSError):
            while self._has_more(max(0.0, deadline - clock.monotonic())):
                self._take(pickle.loads(self._connection.recv_bytes()))  # noqa: S301 - our own worker
        if not self._has_ended(max(0.05, deadline - clock.monotonic())):
            self._kill()
        self._bury("The worker process of the task that called it was ended.", is_asked_for=True)

    def _set_up(self, number: int) -> None:
        settings = config.get_config()
        try:
            # A separate message, as flowspan itself is imported through this path. `send` is not
            # used: it leaves a BytesIO with a view of it in the traceback of an error, and
            # garbage-collecting them may warn.
            self._connection.send_bytes(pickle.dumps(list(sys.path)))
            program = list(sys.argv), program_name(), service_name_for_children(os.environ)
            setup = (messages.SETUP, None, program, number, settings)
            told = telemetry.told_endpoint(), telemetry.told_logs(), telemetry.is_on()
            self._connection.send_bytes(pickle.dumps((*setup, clock.offset_ns(), *told)))
            if not self._has_more(START_TIMEOUT_S):
                self._kill()
                raise WorkerProcessDied(
                    f"A worker process did not start within {START_TIMEOUT_S:g} s."
                )
            self._connection.recv_bytes()  # READY
        except (EOFError, OSError) as error:
            self.is_spent = True
            died = self._death()
            raise WorkerProcessDied(
                f"A worker process could not be started ({died}); its standard error may show "
                "the reason.",
                exit_code=died.exit_code,
                signal=died.signal,
            ) from error
        except BaseException:
            self._kill()
            self._bury("", is_asked_for=True)
            raise

    def _receive(self, deadline: float | None) -> Answer | None:
        """Take the worker's messages until it answers the call; None after the deadline."""
        while True:
            if deadline is not None and not self._has_more(max(0.0, deadline - clock.monotonic())):
                return None
            message = pickle.loads(self._connection.recv_bytes())  # noqa: S301 - our own worker
            kind = message[0]
            if kind in {messages.VALUE, messages.ERROR}:
                payload = self._connection.recv_bytes()
                if message[1] == self._call_id:
                    return Answer(kind == messages.ERROR, payload)
            else:
                self._take(message)

    def _has_more(self, timeout_s: float) -> bool:
        # `poll` would use a clock that the program may have stopped.
        return clock.wait_readable(self._connection.fileno(), timeout_s)

    def _take(self, message: tuple[Any, ...]) -> None:
        if message[0] == messages.EVENTS:
            self._relay.take(message[1])
        elif message[0] == messages.FLUSH:
            self._host.flush()
            self._send((messages.FLUSHED, message[1]))

    def _send(self, message: tuple[Any, ...], payload: bytes | None = None) -> None:
        if not self.is_ours:
            raise BrokenPipeError(
                "The worker belongs to the process from which this one was forked."
            )
        data = pickle.dumps(message)
        with self._sending:
            self._connection.send_bytes(data)
            if payload is not None:
                self._connection.send_bytes(payload)

    def _deliver(self, command: Command) -> bool:
        # Called in the reporter's thread, which must not block on a worker.
        message = (messages.COMMAND, command)
        send = self._try_to_send
        threading.Thread(target=send, args=(message,), name="flowspan-command", daemon=True).start()
        return False

    def _try_to_send(self, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(OSError):
            self._send(message)

    def _stop(
        self, call_id: int, ended: threading.Event, reason: str, deadline_of: str, grace_s: float
    ) -> None:
        """Ask the code to stop, and kill the process after the grace period."""
        message = (messages.STOP, call_id, reason, deadline_of)

        def kill_later() -> None:
            if not ended.wait(grace_s):
                self._kill()

        for target in (lambda: self._try_to_send(message), kill_later):
            threading.Thread(target=target, name="flowspan-stop", daemon=True).start()

    def _kill(self) -> None:
        """Send SIGKILL to the process and its children."""
        self.is_spent = self.was_killed = True
        if self._process.returncode is None and self.is_ours:  # a reaped pid may be reused
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _has_ended(self, timeout_s: float) -> bool:
        """Wait for the end of the process without reaping it, so that its pid is not reused."""
        deadline = clock.monotonic() + timeout_s
        pause_s = 0.001
        while self._process.returncode is None:
            with contextlib.suppress(ChildProcessError):  # already reaped elsewhere
                options = os.WEXITED | os.WNOWAIT | os.WNOHANG
                if os.waitid(os.P_PID, self._process.pid, options) is None:
                    if clock.monotonic() > deadline:
                        return False
                    clock.sleep(pause_s)
                    pause_s = min(2 * pause_s, 0.05)
                    continue
            break
        return True

    def _bury(self, message: str, *, is_asked_for: bool) -> None:
        """Reap the process, and end the runs that it left open."""
        if self._has_ended(_REAP_TIMEOUT_S):
            if self.is_spent and self._process.returncode is None:
                # Children that the worker's code started and did not end.
                with contextlib.suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
        self.is_spent = True
        self._connection.close()
        self._relay.end_open(CANCELLED if is_asked_for else CRASHED, message)

    def _death(self) -> WorkerProcessDied:
        """Return the error for a process that ended unexpectedly."""
        self.is_spent = True
        code = None
        if self._has_ended(_DEATH_WAIT_S):
            code = _exit_code(self._process.pid)
        else:  # it only closed its connection
            self._kill()
        error = _died(self._process.pid, code)
        self._bury(str(error), is_asked_for=False)
        return error


def _exit_code(pid: int) -> int | None:
    """Return the exit code of an ended, unreaped process; negative for a signal."""
    with contextlib.suppress(ChildProcessError):
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if found is not None:
            return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
    return None


def _deadline_of(scope: Any) -> str:
    return str(getattr(scope, "deadline_of", ""))


def _died(pid: int, code: int | None) -> WorkerProcessDied:
    who = f"The worker process {pid} in which the task ran"
    if code is None:
        return WorkerProcessDied(f"{who} closed its connection.")
    if code >= 0:
        return WorkerProcessDied(f"{who} ended with exit code {code}.", exit_code=code)
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    why = {
        "SIGKILL": " (by hand, or by the system because memory ran out)",
        "SIGSEGV": " (a fault in native code)",
        "SIGABRT": " (native code aborted)",
    }.get(name, "")
    return WorkerProcessDied(f"{who} was ended by {name}{why}.", signal=name)


def _start(its_end: Connection) -> subprocess.Popen[bytes]:
    """Start a Python like this one, with one file descriptor, in a new process group.

    Because of the group, only the parent handles Ctrl-C, and the process can be killed together
    with its children.
    """
    # Private, but multiprocessing uses it as well; there is no public equivalent.
    options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001 - as above
    if "-P" not in options:
        options.append("-P")  # its path comes from this process, over the pipe
    descriptor = its_end.fileno()
    return subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, *options, "-c", _PROGRAM, str(descriptor)],
        stdin=subprocess.DEVNULL,
        pass_fds=(descriptor,),
        process_group=0,
    )
