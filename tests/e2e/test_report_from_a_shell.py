"""examples/report_from_a_shell.sh: a command as a flow run, with curl alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.access import create_token
from tests.support.cli import flowspan
from tests.support.report_client import new_id
from tests.support.run_queries import flow_history, flow_runs, logs, wait_until

from flowspan.v1 import system_service_pb2, system_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

SCRIPT = Path(__file__).parents[2] / "examples" / "report_from_a_shell.sh"
TOOLS = ("curl", "iconv", "od", "awk")
TIMEOUT_S = 120
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"
)
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]


@pytest.fixture
def served(start_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    """A service with HTTP."""
    return start_service(arguments=("--http-port", "0"))


def environment(service: ServiceProcess, **more: str) -> dict[str, str]:
    """Return the environment of the script; before a token exists, as the question needs none."""
    stub = system_service_pb2_grpc.SystemServiceStub(service.channel)
    address = stub.GetInfo(system_service_pb2.GetInfoRequest()).http_address
    return {**os.environ, "FLOWSPAN_HTTP": f"http://{address.removeprefix('http://')}", **more}


def begin(env: dict[str, str], *command: str, shell: str = "sh") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [shell, str(SCRIPT), *command],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def run(env: dict[str, str], *command: str, shell: str = "sh") -> tuple[int, str, str]:
    """Run the script; return its exit code, its output and its errors."""
    with begin(env, *command, shell=shell) as process:
        out, err = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, out, err


def only_run(service: ServiceProcess) -> Any:
    (found,) = flow_runs(service.channel)
    return found


def lines(service: ServiceProcess, run_id: str) -> list[str]:
    return [line for log in logs(service.channel, run_id) for line in log.message.split("\n")]


@pytest.mark.parametrize("shell", SHELLS)
def test_command_that_succeeds(served: ServiceProcess, shell: str) -> None:
    said = ['a "quoted" \\ line', "größe 🐟", "a\\nb", "", "last, without a line feed"]
    text = "\n".join(said)
    code, out, err = run(environment(served), 'say "it"', "printf", "%s", text, shell=shell)
    assert (code, out, err) == (0, text, "")
    found = only_run(served)
    assert found.flow_name == 'say "it"'
    assert flow_history(served.channel, found.id) == ["Pending", "Running", "Completed"]
    assert lines(served, found.id) == said


def test_command_with_much_output(served: ServiceProcess) -> None:
    program = "i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); echo line $i; done; sleep 2; echo end"
    code, _, err = run(environment(served), "talk", "sh", "-c", program)
    assert (code, err) == (0, "")
    expected = [*(f"line {number}" for number in range(1, 1001)), "end"]
    assert lines(served, only_run(served).id) == expected


def test_command_that_fails(served: ServiceProcess) -> None:
    code, out, _ = run(environment(served), "fails", "sh", "-c", "echo bad >&2; exit 3")
    assert (code, out) == (3, "bad\n")
    found = only_run(served)
    assert flow_history(served.channel, found.id)[-1] == "Failed"
    assert lines(served, found.id) == ["bad"]


def test_command_is_stopped_by_a_cancellation(served: ServiceProcess, flowspan_home: Path) -> None:
    program = "trap 'echo stopping; exit 9' TERM; echo begun; while :; do sleep 0.1; done"
    with begin(environment(served), "long", "sh", "-c", program) as process:
        wait_until(lambda: flow_runs(served.channel), "the run")
        found = only_run(served)
        wait_until(lambda: lines(served, found.id), "its first line")
        env = {"FLOWSPAN_ADDRESS": served.address}
        flowspan("run", "cancel", found.id, env=env)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (9, "begun\nstopping\n")
    history = flow_history(served.channel, found.id)
    assert history == ["Pending", "Running", "Cancelling", "Cancelled"]
    assert lines(served, found.id) == ["begun", "stopping"]
    shown = flowspan("run", "show", found.id, env=env)
    assert "Cancelled" in shown.out


def test_signal_stops_the_command(served: ServiceProcess) -> None:
    with begin(environment(served), "long", "sleep", "3600") as process:
        wait_until(lambda: flow_runs(served.channel), "the run")
        # The script hands signals on once its command runs, which the first touch shows.
        session = only_run(served).session_id
        assert session
        wait_until(lambda: child_of(process.pid, "sleep 3600"), "the command")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 128 + signal.SIGTERM
    assert flow_history(served.channel, only_run(served).id)[-1] == "Cancelled"


def child_of(pid: int, command: str) -> bool:
    """Return True if the process has a child with this command line, and so has set its traps."""
    found = subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "args="], capture_output=True, text=True, check=False
    )
    return any(line.strip() == command for line in found.stdout.splitlines())


def test_command_runs_without_the_service(served: ServiceProcess) -> None:
    env = environment(served)
    served.kill()
    code, out, err = run(env, "alone", "sh", "-c", "echo done; exit 4")
    assert (code, out) == (4, "done\n")
    assert "curl" in err


def test_service_that_restarts_in_the_middle_loses_nothing(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service(arguments=("--http-port", "0"))
    env = environment(service)
    port = env["FLOWSPAN_HTTP"].rpartition(":")[2]
    program = "for i in 1 2 3 4 5 6; do echo line $i; sleep 1; done"
    with begin(env, "patient", "sh", "-c", program) as process:
        wait_until(lambda: flow_runs(service.channel), "the run")
        service._arguments = ("--http-port", port)
        service.restart()
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    found = only_run(service)
    assert flow_history(service.channel, found.id)[-1] == "Completed"
    assert lines(service, found.id) == [f"line {number}" for number in range(1, 7)]


def test_command_below_a_cancelled_run_does_not_run(served: ServiceProcess) -> None:
    env = environment(served)
    code, out, err = run({**env, "FLOWSPAN_RUN": "nonsense"}, "child", "echo", "it runs")
    assert (code, out) == (1, "")
    assert "child does not run" in err
    assert "run_context" in err
    assert flow_runs(served.channel) == []


def test_script_sends_its_token(
    start_service: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    served = start_service(arguments=("--http-port", "0"), asks_over_socket=True)
    env = environment(served)
    secret = create_token(served.channel, "script", "report")
    code, out, err = run(env, "unknown", "echo", "it runs")
    assert (code, out) == (0, "it runs\n")
    assert "unknown runs, but is not reported" in err
    assert "requires an access token" in err
    file = tmp_path / "token"
    file.write_text(f"{secret}\n")
    for more in ({"FLOWSPAN_TOKEN": secret}, {"FLOWSPAN_TOKEN_FILE": str(file)}):
        code, out, err = run({**env, **more}, "known", "ps", "-eo", "args")
        assert (code, err) == (0, "")
        assert secret not in out
    assert [run.state.name for run in flow_runs(served.channel)] == ["Completed", "Completed"]


def test_script_without_a_command_says_how_to_use_it(served: ServiceProcess) -> None:
    for arguments in ((), ("name",)):
        code, out, err = run(environment(served), *arguments)
        assert (code, out) == (2, "")
        assert err == f"usage: {SCRIPT} FLOW COMMAND [ARGUMENT...]\n"


def test_command_has_the_run_as_its_caller(served: ServiceProcess) -> None:
    caller = new_id()
    context = f"r:{caller.replace('-', '')}"
    env = environment(served, FLOWSPAN_RUN=context)
    code, _, _ = run(env, "outer", "sh", str(SCRIPT), "inner", "printenv", "FLOWSPAN_RUN")
    assert code == 0
    found = {each.flow_name: each for each in flow_runs(served.channel)}
    outer, inner = found["outer"], found["inner"]
    assert [outer.parent_run_id, inner.parent_run_id] == [caller, outer.id]
    root = caller.replace("-", "")
    assert lines(served, inner.id) == [f"r:{inner.id.replace('-', '')};t:{root}"]
