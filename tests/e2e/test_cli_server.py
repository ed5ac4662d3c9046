"""`flowspan server`, and the commands' messages without a service."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from tests.support.child_processes import dying_with_us
from tests.support.cli import COMMAND, flowspan, flowspan_process
from tests.support.service import read_service_file

from flowspan_service.config import load as load_service_settings


def wait_until_ready(home, process) -> None:
    deadline = time.monotonic() + 60
    while (read_service_file(home) or {}).get("pid") != process.pid:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def started(flowspan_home):
    """Run `flowspan server start` until ready; kill it at the end."""
    process = subprocess.Popen(
        [*dying_with_us(), *COMMAND, "server", "start", "--port", "0", "--log-format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        wait_until_ready(flowspan_home, process)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_start_status_stop(flowspan_home, started):
    (status,) = flowspan("server", "status", "--json").objects
    assert status["process_id"] == started.pid
    assert status["database"] == "sqlite"
    assert status["address"].startswith("unix:")
    shown = flowspan("server", "status").out
    assert f"process      {started.pid}\n" in shown
    assert f"stored in    {flowspan_home}/flowspan.db, " in shown
    assert "\nends " not in shown
    assert status["database_location"] == f"{flowspan_home}/flowspan.db"
    assert status["database_size_bytes"] >= os.stat(f"{flowspan_home}/flowspan.db").st_size > 0
    assert (status["is_embedded"], status["idle_timeout_s"], status["log_file"]) == (
        False,
        None,
        "",
    )
    (stopped,) = flowspan("server", "stop", "--json").objects
    assert stopped == {
        "address": status["address"],
        "process_id": started.pid,
        "stopped": True,
    }
    started.communicate(timeout=60)
    assert started.returncode == 0
    nobody = flowspan("server", "status", code=1)
    assert "no service is running" in nobody.err
    assert "flowspan server start" in nobody.err
    assert "no service is running" in flowspan("server", "stop", code=1).err


def test_ctrl_c_stops_a_service_cleanly(flowspan_home, started):
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 0
    assert "Traceback" not in errors
    assert read_service_file(flowspan_home) is None


def test_the_service_explains_its_own_flags(flowspan_home):
    helped = flowspan_process("server", "start", "--help")
    assert "usage: flowspan server start" in helped.out
    assert "--otlp-endpoint" in helped.out
    wrong = flowspan_process("server", "start", "--port", "many", code=2)
    assert "--port" in wrong.err


def test_a_service_of_an_unknown_process_is_not_stopped(service, monkeypatch):
    """As behind a tunnel, or from a container: the process id belongs to another process here."""
    monkeypatch.setattr("flowspan.cli.server._is_service", lambda _: False)
    refused = flowspan("--address", service.address, "server", "stop", code=1)
    assert "container" in refused.err
    assert service.is_running


def test_an_address_is_an_option_and_a_variable(service, monkeypatch):
    by_option = flowspan("--address", service.address, "server", "status", "--json")
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    by_variable = flowspan("server", "status", "--json")
    assert by_option.objects[0]["process_id"] == by_variable.objects[0]["process_id"] == service.pid


def test_reading_starts_no_service_where_nothing_was_ever_stored(flowspan_home):
    for command in (("run", "ls"), ("run", "show", "latest"), ("flow", "ls")):
        outcome = flowspan(*command, code=1)
        assert "no service is running" in outcome.err
    assert read_service_file(flowspan_home) is None


def test_reading_wakes_the_service_of_a_database(flowspan_home, started):
    flowspan("server", "stop")
    started.communicate(timeout=60)
    assert flowspan("run", "ls").out == "No flow runs.\n"
    awake = read_service_file(flowspan_home)
    assert awake is not None
    assert awake["pid"] != started.pid


def test_addresses_that_lead_nowhere(flowspan_home):
    for address, part in (
        ("127.0.0.1:1", "nothing listens there"),
        ("nonsense", "no port"),
        ("http://localhost:4600", "not a URL"),
        (f"unix:{flowspan_home}/none.sock", "no such socket"),
    ):
        outcome = flowspan("--address", address, "run", "ls", code=1)
        assert outcome.out == ""
        assert part in outcome.err
        assert address in outcome.err


def test_wrong_command_lines():
    for arguments in (("run", "lss"), ("run", "ls", "--limit", "-1"), ("nothing",)):
        assert flowspan(*arguments, code=2).err
    assert "age" in flowspan("run", "ls", "--since", "yesterday", code=2).err


def test_every_command_explains_itself():
    helped = flowspan("--help").out
    for group in ("server", "run", "task", "flow", "spool", "config"):
        assert group in helped
        commands = flowspan(group, "--help").out
        assert "Commands" in commands
    for command in ("ls", "show", "logs", "watch", "history", "cancel", "delete"):
        assert "flowspan run" in flowspan("run", command, "--help").out


def test_version_and_settings(flowspan_home):
    (version,) = flowspan("version", "--json").objects
    assert version["version"]
    shown = flowspan_process("version").out
    assert version["version"] in shown
    assert flowspan("--version").out == shown
    (settings,) = flowspan("config", "show", "--json").objects
    assert settings["home"] == str(flowspan_home)
    shown = flowspan("config", "show", env={"FLOWSPAN_LOG_LEVEL": "debug"}).out
    assert "FLOWSPAN_LOG_LEVEL" in shown
    env = {"FLOWSPAN_LOGGING_EXTRA_LOGGERS": "httpx, sqlalchemy.engine"}
    shown = flowspan("config", "show", env=env).out
    assert "httpx,sqlalchemy.engine " in shown, "a value that the variable would take"
    assert not re.search(r"\(\)|True|False|None", shown)
    wrong = flowspan("config", "show", code=1, env={"FLOWSPAN_LOG_LEVEL": "loud"})
    assert "FLOWSPAN_LOG_LEVEL" in wrong.err


def test_spools_are_listed_and_pushed(service, flowspan_home):
    program = "from flowspan import flow\n@flow\ndef lonely(): pass\nlonely()\n"
    gone = "127.0.0.1:1"
    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "FLOWSPAN_ADDRESS": gone, "FLOWSPAN_FLUSH_TIMEOUT_S": "0.1"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    (spool,) = flowspan("spool", "ls", "--json").objects
    assert spool["address"] == gone
    assert spool["size_bytes"] > 0
    assert "waiting" in flowspan("spool", "ls").out
    to_service = ("--address", service.address, "spool", "push")
    left = flowspan(*to_service).out
    assert left.startswith(f"Skipped: {spool['path']}: it is for the service at {gone}; ")
    assert left.endswith("--any-address to the given address.\nNothing else to send.\n")
    (as_json,) = flowspan(*to_service, "--json").objects
    assert (as_json["path"], as_json["events"], as_json["is_done"]) == (spool["path"], 0, False)
    assert gone in as_json["left"]
    assert "Sent" in flowspan(*to_service, "--any-address").out
    assert flowspan(*to_service).out == "Nothing to send.\n"
    assert "All events have been sent" in flowspan("spool", "ls").out
    runs = flowspan("--address", service.address, "run", "ls", "--json").objects
    assert [(run["flow_name"], run["state"]["type"]) for run in runs] == [("lonely", "COMPLETED")]


def test_a_spool_in_use_and_one_that_cannot_be_read_are_told_of(service, flowspan_home):
    program = (
        "from flowspan import flow\nimport os\n@flow\ndef lonely(): pass\nlonely()\n"
        "print(os.getpid(), flush=True)\ninput()\n"
    )
    process = subprocess.Popen(
        [*dying_with_us(), sys.executable, "-c", program],
        env={**os.environ, "FLOWSPAN_ADDRESS": "127.0.0.1:1", "FLOWSPAN_FLUSH_TIMEOUT_S": "0.1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    pid = process.stdout.readline().strip()
    (flowspan_home / "spool" / "broken.spool").write_text("no spool")
    outcome = flowspan("--address", service.address, "spool", "push", "--any-address", code=1)
    in_use, broken = sorted(outcome.lines, key=lambda line: "broken" in line)
    assert in_use.startswith("Skipped: ")
    assert in_use.endswith(f"process {pid} is using it, and will send it.")
    assert broken.startswith("Not sent: ")
    assert "1 of 1 spools were not sent" in outcome.err
    process.communicate("\n", timeout=60)


def test_an_embedded_service_says_when_it_ends_and_where_its_log_is(flowspan_home):
    program = "from flowspan import flow\n@flow\ndef f(): pass\nf()\n"
    subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
    shown = flowspan("server", "status").out
    assert "ends         after 5m 00s without flows and commands (a flow started it)\n" in shown
    assert f"log          {flowspan_home}/service.log\n" in shown
    (status,) = flowspan("server", "status", "--json").objects
    assert (status["is_embedded"], status["idle_timeout_s"]) == (True, 300.0)
    assert status["log_file"] == f"{flowspan_home}/service.log"


@pytest.mark.parametrize(
    ("options", "address"),
    [
        (("--port", "0"), r"127\.0\.0\.1:\d+"),
        (
            ("--port", "0", "--insecure", "--host", "0.0.0.0"),  # noqa: S104 - shown as host
            rf"{re.escape(socket.gethostname())}:\d+",
        ),
        (("--no-tcp",), r"unix:\S+/service\.sock"),
    ],
)
def test_start_says_how_to_point_flows_at_it(flowspan_home, options, address):
    with (flowspan_home.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            [*dying_with_us(), *COMMAND, "server", "start", *options],
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
        )
        try:
            ready, home, point = (process.stdout.readline() for _ in range(3))
        finally:
            process.kill()
            process.communicate(timeout=60)
    assert "is ready at" in ready
    assert str(flowspan_home) in home
    assert re.search(rf"export FLOWSPAN_ADDRESS={address}\n$", point)


@pytest.mark.parametrize("redirections", [">/dev/full", ">&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_a_service_runs_without_standard_streams(flowspan_home, redirections):
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *COMMAND, "server", "start", "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        wait_until_ready(flowspan_home, process)
        flowspan("server", "stop")
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in err
    finally:
        process.kill()


@pytest.mark.parametrize(
    "wrong",
    [
        *(("--lease", value) for value in ("0", "-1", "nan", "inf", "1e400", "x", "")),
        *(("--grace", value) for value in ("0", "nan", "inf")),
        *(("--idle-timeout", value) for value in ("0", "nan", "inf")),
        *(("--port", value) for value in ("-1", "65536", "nan", "x", "9" * 400)),
        *((flag, "") for flag in ("--home", "--db", "--socket", "--host", "--port")),
        ("--home", "~no-such-user/home"),
        ("--log-level", "loud"),
    ],
)
def test_flags_of_the_service_that_cannot_be(capfd, wrong):
    with pytest.raises(SystemExit) as ended:
        load_service_settings([wrong[0], wrong[1]], {})
    assert ended.value.code == 2
    assert wrong[0] in capfd.readouterr().err


ESCAPE = "\x1b[31mred\x9b31m"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--host", ESCAPE], 4),
        (["--host", f"{ESCAPE}..x"], 4),
        (["--host", "x" * 300], 4),
        ([f"--{ESCAPE}"], 2),
        ([ESCAPE], 2),
        (["--port", ESCAPE], 2),
        (["--log-level", ESCAPE], 2),
        (["--db", ESCAPE], 5),
        (["--db", f"postgresql://127.0.0.1:1/{ESCAPE}"], 5),
        (["--db", f"sqlite:////proc/{ESCAPE}/x.db"], 5),
        (["--socket", f"/proc/{ESCAPE}/socket"], 4),
        (["--home", f"/proc/{ESCAPE}"], 5),
    ],
)
# This includes a byte that is not UTF-8.
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_what_the_service_was_given_moves_no_cursor(flowspan_home, arguments, code, encoding):
    given = [each.encode(encoding) for each in arguments]
    start = [*COMMAND, "server", "start", *(["--port", "0"] if "--port" not in arguments else [])]
    done = subprocess.run([*start, *given], capture_output=True, timeout=60, check=False)
    written = (done.stdout + done.stderr).decode("utf-8", "surrogateescape")
    assert done.returncode == code, written
    assert "Traceback" not in written
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\udc80-\udcff]", written), written


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_service_imports(flowspan_home, number, code):
    program = (
        "import runpy, signal, sys\n"
        "def look(event, args):\n"
        "    if event == 'import' and args[0] == 'sqlalchemy':\n"
        f"        signal.raise_signal({int(number)})\n"
        "sys.addaudithook(look)\n"
        "runpy.run_module('flowspan_service', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--port", "0"], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (code, b"")
