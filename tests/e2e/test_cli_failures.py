"""Failing commands: one clear line, the documented exit code, and never a traceback.

The tests cover all commands; a new command needs its line in `tests.support.cli_commands`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent import futures
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.cli import COMMAND, TIMEOUT_S, Outcome, flowspan, flowspan_process
from tests.support.cli_commands import LOCAL, SAMPLES, all_commands, sample
from tests.support.cli_shared import BAD_BYTES, HUGE, Shared, assert_clear
from tests.support.report_client import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TextIO

    from tests.support.service import ServiceProcess

# Sends a signal at the n-th event of the program (each import, file and connection is one), counted
# from the installation of its handlers: a number is the same place each time.
_SIGNAL_AT = """
import runpy, signal, sys
number, at = getattr(signal, sys.argv[1]), int(sys.argv[2])
seen = 0
def look(event, args):
    global seen
    if event in watched and signal.getsignal(number) is not before:
        seen += 1
        if seen == at:
            signal.raise_signal(number)
watched = {"import", "open", "socket.connect", "socket.__new__", "compile", "exec"}
before = signal.getsignal(number)
sys.argv[1:] = sys.argv[3:]
sys.addaudithook(look)
runpy.run_module("flowspan", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    shared = Shared(tmp_path_factory.mktemp("shared"))
    yield shared
    shared.service.end()


@pytest.fixture
def shared(_shared: Shared, monkeypatch: pytest.MonkeyPatch) -> Shared:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", _shared.service.address)
    return _shared


def test_every_command_is_tried() -> None:
    assert set(all_commands()) == set(SAMPLES)


def full() -> TextIO:
    return open("/dev/full", "w", encoding="utf-8")


def closed() -> TextIO:
    """Replace a closed standard output as `streams.prepare` does."""
    return open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")


def unread() -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", encoding="utf-8")


@pytest.mark.parametrize(
    ("make_stream", "err"),
    [
        (full, "Error: cannot write the output: No space left on device\n"),
        (closed, "Error: cannot write the output: Bad file descriptor\n"),
        (unread, ""),
    ],
)
def test_a_standard_output_that_takes_nothing(
    shared: Shared, make_stream: Callable[[], TextIO], err: str
) -> None:
    for path in SAMPLES:
        if path == "server start":
            continue  # It is another program by then.
        for options in ((), ("--json",)):
            line = (*shared.line(path), *options)
            if line[0] == "spool" and options:
                continue  # The command has no such option.
            if line == ("token", "ls", "--json"):
                continue  # There are no tokens, and so no output.
            with make_stream() as stream:
                outcome = flowspan(*line, code=1, out=stream)
            assert (line, outcome.err) == (line, err)


@pytest.mark.parametrize("line", ["version", "run logs latest", "--help", "run"])
def test_streams_that_are_closed_or_full(shared: Shared, line: str) -> None:
    code = 2 if line == "run" else 0
    # The exit code, and the text on standard error.
    expected = {
        ">/dev/full": (1, b"Error: cannot write the output: No space left on device\n"),
        ">&-": (1, b"Error: cannot write the output: Bad file descriptor\n"),
        "2>&-": (code, b""),
        "2>/dev/full": (code, b""),
        "<&-": (code, b""),
        "<&- >&- 2>&-": (1, b""),
    }
    started = {
        how: subprocess.Popen(
            ["sh", "-c", f'exec "$@" {how}', "sh", *COMMAND, *line.split()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for how in expected
    }
    for how, process in started.items():
        out, err = process.communicate(timeout=TIMEOUT_S)
        assert (how, process.returncode, err) == (how, *expected[how])
        assert bool(out) == (process.returncode == code)


@pytest.mark.parametrize("line", ["version", "run logs latest", "run ls --json", "--help"])
def test_a_reader_that_goes_away(shared: Shared, line: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, *line.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert (err, process.returncode) == (b"", 1)


NEED_A_NAME = {
    *("run cancel", "run delete", "run open", "artifact delete", "variable unset"),
    *("token create", "token revoke"),
}


def repeatable(path: str) -> tuple[str, ...]:
    """Return the command line for a user without a service."""
    line = tuple(word for word in sample(path, run="RUN", task="TASK") if word != "--help")
    if path in NEED_A_NAME:
        return (*line, "some-name")
    return line


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("127.0.0.1:1", "nothing listens there"),
        ("unix:/no/such/socket", "no such socket"),
        (f"unix:/{'a' * 300}", "too long"),
        ("no-such-host.invalid:1", "not known"),
        ("a..b:1", "not known"),
        (f"{'a' * 70}:1", "not known"),
        ("[::1%nosuchinterface]:1", "not known"),
        ("nonsense", "no port"),
        ("http://127.0.0.1:1", "not a URL"),
        ("127.0.0.1:0", "malformed"),
        ("127.0.0.1:99999", "malformed"),
        ("", "no port"),
    ],
)
def test_addresses_that_lead_nowhere(address: str, part: str) -> None:
    outcome = flowspan("--address", address, "run", "ls", code=1)
    assert_clear(outcome, 1)
    assert part in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_an_address_that_leads_nowhere_and_every_command(spool: None, address: str) -> None:
    for path in SAMPLES:
        if path in LOCAL:
            continue
        arguments = ("--any-address",) if path == "spool push" else ()
        outcome = flowspan("--address", address, *repeatable(path), *arguments, code=1)
        assert_clear(outcome, 1)
        assert address in outcome.err


@pytest.fixture(scope="module")
def _spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a pending spool."""
    home = tmp_path_factory.mktemp("spooling")
    program = "from flowspan import flow\n@flow\ndef lonely(): pass\nlonely()\n"
    settings = {"FLOWSPAN_HOME": str(home), "FLOWSPAN_ADDRESS": "127.0.0.1:1"}
    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **settings, "FLOWSPAN_FLUSH_TIMEOUT_S": "0.05"},
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    return home / "spool"


@pytest.fixture
def spool(_spool: Path, flowspan_home: Path) -> None:
    """Return a pending spool, so that `spool push` has a reason to look for a service."""
    shutil.copytree(_spool, flowspan_home / "spool")


def serve_bytes(answer: bytes, *, reads: bool) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        with connection:
            if reads:
                connection.recv(65536)
            connection.sendall(answer)

    return serve


@pytest.fixture
def imposter() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Start a listener that is not a flowspan service; return its address."""
    listeners: list[socket.socket] = []

    def start(serve: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                    serve(connection)
                except OSError:
                    if listener.fileno() < 0:
                        return

        threading.Thread(target=accept, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


COMMANDS_THAT_CALL = [
    "run ls",
    "run logs",
    "run watch",
    "server status",
    "variable set",
    "spool push",
]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0" * 4096,
        b"\x15\x03\x01\x00\x02\x02\x16",
    ],
    ids=["nothing", "http", "ssh", "zeros", "tls"],
)
@pytest.mark.parametrize("reads", [True, False])
def test_something_else_at_the_address(
    spool: None,
    imposter: Callable[[Callable[[socket.socket], None]], str],
    answer: bytes,
    reads: bool,
) -> None:
    address = imposter(serve_bytes(answer, reads=reads))
    for path in COMMANDS_THAT_CALL:
        assert_refused(path, address, "")


def test_another_grpc_service_at_the_address(spool: None) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        for path in COMMANDS_THAT_CALL:
            assert_refused(path, address, "not")
    finally:
        server.stop(0).wait()


def assert_refused(path: str, address: str, part: str) -> None:
    arguments = ("--any-address",) if path == "spool push" else ()
    outcome = flowspan("--address", address, *repeatable(path), *arguments, code=1)
    if path == "spool push":  # The outcome of a spool is a result.
        outcome = Outcome(outcome.code, "", outcome.err + outcome.out)
    assert_clear(outcome, 1)
    assert address in outcome.err
    assert part in outcome.err


READS_NO_SETTINGS = {
    *("version", "server start", "migrate"),
    *("profile ls", "profile use", "profile set"),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLOWSPAN_ADDRESS", "nonsense"),
        ("FLOWSPAN_HOME", "~no-such-user/home"),
        ("FLOWSPAN_HOME", f"/folder/{BAD_BYTES}"),
        ("FLOWSPAN_LOG_LEVEL", "loud"),
        ("FLOWSPAN_LOG_LEVEL", BAD_BYTES),
        ("FLOWSPAN_LOG_PRINTS", "maybe"),
        ("FLOWSPAN_RESULTS_SERIALIZER", "xml"),
        ("FLOWSPAN_TRACING", "?"),
        *(("FLOWSPAN_SPOOL_MAX_BYTES", value) for value in ("0", "-1", "nan", "inf", "1e400", "x")),
        *(("FLOWSPAN_FLUSH_TIMEOUT_S", value) for value in ("0", "-1", "nan", "inf", "1e400", "x")),
        *(("FLOWSPAN_LOCAL_IDLE_TIMEOUT_S", value) for value in ("0", "nan", "inf", "1e99")),
        *(
            ("FLOWSPAN_TASK_RUNNER_THREAD_POOL_MAX_WORKERS", value)
            for value in ("0", "-1", "1.5", "nan", HUGE, "x")
        ),
        ("FLOWSPAN_TASK_RUNNER_PROCESS_POOL_MAX_WORKERS", "0"),
    ],
)
def test_settings_that_cannot_be(name: str, value: str) -> None:
    outcome = flowspan("config", "show", code=1, env={name: value})
    assert_clear(outcome, 1)
    assert name in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_setting_that_cannot_be_and_every_command() -> None:
    for path in SAMPLES:
        line = repeatable(path)
        if path in READS_NO_SETTINGS:
            # In a separate process, because `server start` replaces its process.
            helped = flowspan_process(*line, "--help", env={"FLOWSPAN_TRACING": "?"})
            assert helped.err == ""
            continue
        outcome = flowspan(*line, code=1, env={"FLOWSPAN_TRACING": "?"})
        assert_clear(outcome, 1)
        assert "FLOWSPAN_TRACING='?'" in outcome.err


@pytest.mark.parametrize(("signal_name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("path", ["run logs", "variable set"])
def test_signals_at_any_point(
    shared: Shared, flowspan_home: Path, signal_name: str, code: int, path: str
) -> None:
    """The signals hit different places: during imports, in a call, at the end."""
    places = [1, 3, 30, 200, 400, 600, 800, 1000]
    endings = []
    for places_now in (places[:4], places[4:]):
        started = {
            at: subprocess.Popen(
                [sys.executable, "-c", _SIGNAL_AT, signal_name, str(at), *shared.line(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for at in places_now
        }
        for at, process in started.items():
            _, err = process.communicate(timeout=TIMEOUT_S)
            endings.append((at, process.returncode, err))
    line = b"Interrupted.\n" if signal_name == "SIGINT" else b"Terminated.\n"
    for ending in endings:
        assert ending[1:] in {(code, line), (0, b"")}, ending
    assert sum(ending[1] == code for ending in endings) >= 4, endings


@pytest.mark.parametrize("command", ["run watch", "run logs"])
@pytest.mark.parametrize(("signal_name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signals_while_a_command_waits(
    service: ServiceProcess,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    signal_name: str,
    code: int,
) -> None:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    reporter = Reporter(service.channel)
    run = reporter.flow_run("etl", "brave-otter")
    reporter.state(run, "RUNNING")
    reporter.log(run, "begins")
    reporter.send()
    arguments = ("--follow",) if command == "run logs" else ()
    process = subprocess.Popen(
        [*COMMAND, *command.split(), run, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(getattr(signal, signal_name))
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == code
    assert err == (b"Interrupted.\n" if signal_name == "SIGINT" else b"Terminated.\n")
    reporter.finish()


def test_an_unexpected_error_is_one_line_and_its_traceback_is_for_those_who_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("flowspan.cli.spool.get_config", fail)
    monkeypatch.setattr("flowspan.cli.about.get_config", lambda: fail(None))
    outcome = flowspan("config", "show", code=1)
    assert outcome.err.startswith("Error: unexpected ZeroDivisionError: of all things\n")
    assert "--traceback" in outcome.err
    assert "Traceback" not in outcome.err
    asked = flowspan("--traceback", "config", "show", code=1)
    assert "Traceback (most recent call last)" in asked.err
    assert "in fail" in asked.err
