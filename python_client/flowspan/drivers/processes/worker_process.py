"""The parent's side of one worker process: starting it, calling a function in it, ending it."""

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
from flowspan.core.keys.qualified_names import program_name
from flowspan.core.states import CANCELLED, CRASHED
from flowspan.drivers.processes import channel as messages
from flowspan.drivers.processes.event_relay import Relay
from flowspan.exceptions import WorkerProcessDied

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from flowspan.core.run import Run
    from flowspan.drivers.process import ProcessContext
    from flowspan.drivers.processes.channel import Call

START_TIMEOUT_S = 60.0
CANCEL_GRACE_S = 3.0
"""How long code that was told to stop may go on before its process is killed. Less than a flow that
is broken off waits for its tasks."""
DEADLINE_GRACE_S = 1.0
EXIT_TIMEOUT_S = 5.0
_DEATH_WAIT_S = 5.0
_REAP_TIMEOUT_S = 10.0

# The main module of the program is not run again: what is in it goes to workers by value.
_PROGRAM = """'flowspan worker'
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
sys.path[:] = connection.recv()
from flowspan.drivers.processes.worker import main
main(connection)
"""


class Answer(NamedTuple):
    """What came of a call.

    Attributes:
        is_error: Whether the function raised.
        payload: What it returned or raised, pickled; None if its process was killed.
        is_late: Whether its time was over.
    """

    is_error: bool
    payload: bytes | None
    is_late: bool = False


class WorkerHandle:
    """A worker process.

    Args:
        host: The parent.
        number: Its number in the pool, from 1.

    Attributes:
        known_flow_run: The key of the flow run that it has been told of.
        is_initialized: True if it has certainly called the initializer of its runner.
        is_spent: Whether it must not be used again: it is gone, or code in it was broken off, which
            may have left anything behind.
        was_killed: Whether the parent killed it.
    """

    def __init__(self, host: ProcessContext, number: int) -> None:
        self.known_flow_run = ""
        self.is_initialized = False
        self.is_spent = False
        self.was_killed = False
        self._host = host
        self._relay = Relay(host, self._cancel_run)
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

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_ours(self) -> bool:
        """Whether this process has started it: one that was forked since must leave it alone."""
        return os.getpid() == self._owner_id

    def is_alive(self) -> bool:
        """Whether it can be given another call."""
        return self.is_ours and not self.is_spent and self._process.poll() is None

    def call(self, call: Call, payload: bytes, run: Run) -> Answer:
        """Calls a function in the worker, and passes on what it reports meanwhile.

        Args:
            call: The call.
            payload: Its arguments, pickled.
            run: What it is called for, and cancelled with. If its time is over, the process is
                killed soon afterwards.

        Raises:
            WorkerProcessDied: The process ended before the call did, and nobody had asked it to.
            CancelRun, DeadlinePassed: Its scope was cancelled, before or so that the process had to
                be killed.
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
            # Not before: the worker knows nothing yet of a call that is to be stopped.
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
        """The time of a call is over: gives it a moment to clean up, then kills the process."""
        self.is_spent = True
        reason = f"Its time of {timeout_s:g} s was over."
        self._stop(call_id, ended, reason, run_id, DEADLINE_GRACE_S)
        try:
            answer = self._receive(None)
            assert answer is not None  # noqa: S101 - without a deadline it is waited for
            return answer._replace(is_late=True)
        except (EOFError, OSError):
            self._bury(f"Stopped: {reason}", is_asked_for=True)
            return Answer(is_error=True, payload=None, is_late=True)

    def say_exit(self) -> None:
        """Asks the process to end once it has nothing to do."""
        with contextlib.suppress(OSError):
            self._send((messages.EXIT,))

    def end(self, timeout_s: float = EXIT_TIMEOUT_S) -> None:
        """Waits for the end of a process that was asked for it; kills it if that takes too long."""
        if not self.is_ours:
            return
        deadline = clock.monotonic() + timeout_s
        with contextlib.suppress(EOFError, OSError):
            while self._has_more(max(0.0, deadline - clock.monotonic())):
                self._take(pickle.loads(self._connection.recv_bytes()))  # noqa: S301 - our worker's
        if not self._has_ended(max(0.05, deadline - clock.monotonic())):
            self._kill()
        self._bury("The worker process of the task that called it was ended.", is_asked_for=True)

    def _set_up(self, number: int) -> None:
        settings = config.get_config()
        try:
            # A message of its own: flowspan itself is found by this path.
            # Not by send: what it leaves in the traceback of an error (a BytesIO and a view of it)
            # is not always collected without a complaint.
            self._connection.send_bytes(pickle.dumps(list(sys.path)))
            program = list(sys.argv), program_name()
            setup = (messages.SETUP, None, program, number, settings)
            self._connection.send_bytes(
                pickle.dumps((*setup, clock.offset_ns(), telemetry.told_endpoint()))
            )
            if not self._has_more(START_TIMEOUT_S):
                self._kill()
                raise WorkerProcessDied(
                    f"A worker process did not begin to work within {START_TIMEOUT_S:g} s."
                )
            self._connection.recv_bytes()  # READY
        except (EOFError, OSError) as error:
            self.is_spent = True
            died = self._death()
            raise WorkerProcessDied(
                f"A worker process could not be started ({died}); it may have said why on standard "
                "error.",
                exit_code=died.exit_code,
                signal=died.signal,
            ) from error
        except BaseException:
            self._kill()
            self._bury("", is_asked_for=True)
            raise

    def _receive(self, deadline: float | None) -> Answer | None:
        """Takes what the worker sends until it answers the call; None if the time is over."""
        while True:
            if deadline is not None and not self._has_more(max(0.0, deadline - clock.monotonic())):
                return None
            message = pickle.loads(self._connection.recv_bytes())  # noqa: S301 - our own worker's
            kind = message[0]
            if kind in {messages.VALUE, messages.ERROR}:
                payload = self._connection.recv_bytes()
                if message[1] == self._call_id:
                    return Answer(kind == messages.ERROR, payload)
            else:
                self._take(message)

    def _has_more(self, timeout_s: float) -> bool:
        # Not by poll, which looks at a clock that the program may have stopped.
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
                "The worker is that of the process from which this one was forked."
            )
        data = pickle.dumps(message)
        with self._sending:
            self._connection.send_bytes(data)
            if payload is not None:
                self._connection.send_bytes(payload)

    def _cancel_run(self, run_id: str, reason: str) -> None:
        # Called in the reporter's thread, which must not wait for a worker to read.
        message = (messages.CANCEL, run_id, reason)
        threading.Thread(target=self._try_to_send, args=(message,), daemon=True).start()

    def _try_to_send(self, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(OSError):
            self._send(message)

    def _stop(
        self, call_id: int, ended: threading.Event, reason: str, deadline_of: str, grace_s: float
    ) -> None:
        """Tells the code to stop, and kills the process if it has not stopped after a while."""
        message = (messages.STOP, call_id, reason, deadline_of)

        def kill_later() -> None:
            if not ended.wait(grace_s):
                self._kill()

        for target in (lambda: self._try_to_send(message), kill_later):
            threading.Thread(target=target, name="flowspan-stop", daemon=True).start()

    def _kill(self) -> None:
        """SIGKILL, to the process and to what it has started."""
        self.is_spent = self.was_killed = True
        if self._process.returncode is None and self.is_ours:  # else its id may be another's by now
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _has_ended(self, timeout_s: float) -> bool:
        """Waits for the end of the process, and leaves it to be reaped: its id is still its own."""
        deadline = clock.monotonic() + timeout_s
        pause_s = 0.001
        while self._process.returncode is None:
            with contextlib.suppress(ChildProcessError):  # somebody else has reaped it
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
        """Sees the process off, and ends the runs that it left open."""
        if self._has_ended(_REAP_TIMEOUT_S):
            if self.is_spent and self._process.returncode is None:
                # What the code has started, and did not get to end.
                with contextlib.suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
        self.is_spent = True
        self._connection.close()
        self._relay.end_open(CANCELLED if is_asked_for else CRASHED, message)

    def _death(self) -> WorkerProcessDied:
        """What is to be said of a process that ended by itself, or by somebody else's hand."""
        self.is_spent = True
        code = None
        if self._has_ended(_DEATH_WAIT_S):
            code = _exit_code(self._process.pid)
        else:  # it has only closed its connection
            self._kill()
        error = _died(self._process.pid, code)
        self._bury(str(error), is_asked_for=False)
        return error


def _exit_code(pid: int) -> int | None:
    """The exit code of a process that has ended and was not reaped; negative for a signal."""
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
        "SIGABRT": " (native code gave up)",
    }.get(name, "")
    return WorkerProcessDied(f"{who} was ended by {name}{why}.", signal=name)


def _start(its_end: Connection) -> subprocess.Popen[bytes]:
    """Starts a Python like this one, with the one file descriptor, in a process group of its own.

    In a group of its own, so that Ctrl-C is for the parent alone to deal with, and that the process
    can be killed together with what it has started.
    """
    # Private, but what multiprocessing itself uses; there is no public name for it.
    options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001
    if "-P" not in options:
        options.append("-P")  # its path is this process's, and is yet to come
    descriptor = its_end.fileno()
    return subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, *options, "-c", _PROGRAM, str(descriptor)],
        stdin=subprocess.DEVNULL,
        pass_fds=(descriptor,),
        process_group=0,
    )
