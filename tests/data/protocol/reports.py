"""Recordings of report streams: the frames of a client and a service of one release.

`record` lets programs report through a proxy, to a service of this version, and keeps each frame in
its order, and the histories that the service has afterwards. The tests play the frames of the
client to the service of their own version, which must have the same histories, and those of the
service to their clients.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.service import ServiceProcess
from tests.support.version_skew import SkewProxy

from flowspan.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    state_pb2,
    system_service_pb2,
    system_service_pb2_grpc,
    task_run_service_pb2,
    task_run_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import grpc

FOLDER = Path(__file__).parent
REPORT = "/flowspan.v1.ReportService/Report"
SENT, ANSWERED = ">", "<"
WAIT_S = 60.0
POLL_S = 0.05

ORDINARY = """
    from flowspan import flow, get_run_logger, tags, task

    @task(retries=2, retry_delay_seconds=0.01, tags=["recorded"])
    def unsteady(number: int, seen=[]):
        get_run_logger().info("number %s", number)
        if number == 2 and len(seen) < 2:
            seen.append(number)
            raise ValueError("not yet")
        return number

    @task
    def broken():
        raise RuntimeError("it is broken") from KeyError("why")

    @task
    def doubled(number: int):
        return 2 * number

    @flow
    def inner(text: str):
        return doubled(len(text))

    @flow(log_prints=True)
    def recorded(numbers: list[int]):
        print("größe ␀ 東京")
        broken(return_state=True)
        with tags("outer"):
            found = [unsteady(number) for number in numbers]
        return found, inner("text"), [each.result() for each in doubled.map(numbers)]

    recorded([1, 2, 3])
"""
CANCELLED = """
    import asyncio
    from flowspan import flow, task

    @task
    async def slow():
        await asyncio.sleep(3600)

    @flow
    async def cancelled():
        await slow()

    asyncio.run(cancelled(return_state=True))
"""
RESTARTED = """
    from flowspan import flow, get_run_logger, task

    @task
    def step(number: int):
        get_run_logger().info("step %s", number)

    @flow
    def restarted():
        step(1)
        print("> waiting", flush=True)
        input()
        step(2)

    restarted()
"""


@dataclass(frozen=True)
class Recording:
    """The report streams of one program.

    Attributes:
        frames: The frames of client (SENT) and service (ANSWERED), in order. Each Hello begins a
            new stream.
        info: The answer of the service to GetInfo.
        histories: See `histories`.
    """

    frames: list[tuple[str, bytes]]
    info: bytes
    histories: list[list[str]]

    def to_json(self) -> dict[str, Any]:
        """Return the recording as JSON data."""
        return {
            "frames": [direction + _as_text(data) for direction, data in self.frames],
            "info": _as_text(self.info),
            "histories": self.histories,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Recording:
        """Return the recording that `to_json` returned."""
        frames = [(text[0], base64.b64decode(text[1:])) for text in value["frames"]]
        return cls(frames, base64.b64decode(value["info"]), value["histories"])


def _as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def releases() -> list[str]:
    """Return the versions with recordings, such as "0.1.0"."""
    return sorted(path.stem.removeprefix("reports-v") for path in FOLDER.glob("reports-v*.json"))


def load(release: str) -> dict[str, Recording]:
    """Return the recordings of a release, by the names of their programs."""
    data = json.loads((FOLDER / f"reports-v{release}.json").read_text(encoding="utf-8"))
    return {name: Recording.from_json(value) for name, value in data.items()}


def save(release: str, recordings: dict[str, Recording]) -> Path:
    """Write the recordings of a release; return the file."""
    path = FOLDER / f"reports-v{release}.json"
    data = {name: recording.to_json() for name, recording in recordings.items()}
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def histories(channel: grpc.Channel) -> list[list[str]]:
    """Return the histories of all runs, in an order that does not depend on times.

    Returns:
        For each run: its function, that of its parent (empty at the top), and the names of its
        states, those of later attempts with their number.
    """
    flow_stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    task_stub = task_run_service_pb2_grpc.TaskRunServiceStub(channel)
    flows = flow_stub.ListFlowRuns(flow_run_service_pb2.ListFlowRunsRequest(page_size=1000))
    tasks = task_stub.ListTaskRuns(task_run_service_pb2.ListTaskRunsRequest(page_size=1000))
    names = {run.id: run.flow_name for run in flows.flow_runs}
    names.update({run.id: run.task_name for run in tasks.task_runs})
    found = []
    for run in flows.flow_runs:
        asked = flow_run_service_pb2.ListFlowRunTransitionsRequest(id=run.id)
        found.append((run, flow_stub.ListFlowRunTransitions(asked).transitions))
    for run in tasks.task_runs:
        request = task_run_service_pb2.ListTaskRunTransitionsRequest(id=run.id)
        found.append((run, task_stub.ListTaskRunTransitions(request).transitions))
    return sorted(
        [names[run.id], names.get(run.parent_run_id, ""), *map(_shown, transitions)]
        for run, transitions in found
    )


def _shown(transition: Any) -> str:
    number = "" if transition.attempt <= 1 else f"{transition.attempt}:"
    return f"{number}{transition.state.name}"


def cancel(channel: grpc.Channel, run_id: str) -> None:
    """Ask for the cancellation of a flow run, in the way that every release knows."""
    state = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING, message="enough")
    request = flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=state)
    flow_run_service_pb2_grpc.FlowRunServiceStub(channel).SetFlowRunState(request)


def record(folder: Path) -> dict[str, Recording]:
    """Let the programs report to services in a folder, and record it."""
    programs: dict[str, tuple[str, Callable[[ServiceProcess, subprocess.Popen[str]], None]]] = {
        "ordinary": (ORDINARY, lambda _, __: None),
        "cancelled": (CANCELLED, _cancel_slow),
        "restarted": (RESTARTED, _restart),
    }
    return {
        name: _record(folder / name, textwrap.dedent(code), interfere)
        for name, (code, interfere) in programs.items()
    }


def _record(
    folder: Path, code: str, interfere: Callable[[ServiceProcess, subprocess.Popen[str]], None]
) -> Recording:
    frames: list[tuple[str, bytes]] = []

    def noting(direction: str) -> Callable[[str, bytes], Iterable[bytes]]:
        def note(method: str, frame: bytes) -> Iterable[bytes]:
            if method == REPORT:
                frames.append((direction, frame))
            return [frame]

        return note

    service = ServiceProcess(home=folder / "service")
    service.start()
    try:
        with SkewProxy(service.address, requests=noting(SENT), responses=noting(ANSWERED)) as proxy:
            own = {"FLOWSPAN_HOME": str(folder / "client"), "FLOWSPAN_ADDRESS": proxy.address}
            with subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **own},
            ) as process:
                interfere(service, process)
                process.communicate(timeout=WAIT_S)
                if process.returncode:
                    raise RuntimeError(f"the program ended with {process.returncode}")
        stub = system_service_pb2_grpc.SystemServiceStub(service.channel)
        info = stub.GetInfo(system_service_pb2.GetInfoRequest()).SerializeToString()
        return Recording(frames, info, histories(service.channel))
    finally:
        service.end()


def _cancel_slow(service: ServiceProcess, process: subprocess.Popen[str]) -> None:
    del process
    stub = task_run_service_pb2_grpc.TaskRunServiceStub(service.channel)
    request = task_run_service_pb2.ListTaskRunsRequest(page_size=1)
    deadline = time.monotonic() + WAIT_S
    while True:
        found = stub.ListTaskRuns(request).task_runs
        if found and found[0].state.type == state_pb2.STATE_TYPE_RUNNING:
            cancel(service.channel, found[0].flow_run_id)
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the task did not begin")
        time.sleep(POLL_S)


def _restart(service: ServiceProcess, process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    while "> waiting" not in process.stdout.readline():
        pass
    # The report of the first step is on its way.
    time.sleep(1.0)
    service.stop()
    service.start()
    process.stdin.write("\n")
    process.stdin.flush()
