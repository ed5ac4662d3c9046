"""Run the program of a case of the idiom tier against the real service, and compare its record."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from tests.conformance.idiom.record import OWN, Record, comparable, span_trees
from tests.conformance.idiom.security import Security
from tests.support import run_queries
from tests.support.child_processes import dying_with_us
from tests.support.history import type_name
from tests.support.otlp import OtlpReceiver
from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.version_skew import SkewProxy, newer_requests, newer_responses, request_class

from flowspan.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    payload_pb2,
    task_run_service_pb2,
    task_run_service_pb2_grpc,
    variable_pb2,
    variable_service_pb2,
    variable_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.protobuf.message import Message
    from tests.conformance.languages import Language
    from tests.support.service import ServiceProcess

FOLDER = Path(__file__).parent
WAIT_S = 90.0
POLL_S = 0.05
HOUR_S = 3600
SIGNAL_CODES = 128
"""Exit codes above it stand for signals, where a language has such codes."""


@dataclass(frozen=True, kw_only=True)
class IdiomCase:
    """A case.

    Attributes:
        name: The name of its folder.
        words: What it shows, for people: one sentence.
        service: Options of the service: lease_s, grace_s.
        between: What stands between the program and the service: "newer" (both look newer to the
            other), "ahead" (the clock of the program is an hour ahead), or nothing.
        env: Environment variables of the program.
        tls: The certificates of the service and the program; see Security.
        token: The access token of the program; see Security.
        program_of: The case whose programs it runs; its own if empty.
        steps: What the test does while the program runs; see Steps.
        exit: The exit code of the program, or the number of a signal, negative; None after it was
            killed.
        runs: The record of its runs.
        printed: The lines that it printed and that begin with "> ".
        said: Texts that its output must contain, in upper or lower case, for people.
        spans: The record of its spans; None if there is no receiver.
        receiver: Who is told where the receiver is: "service", or "program" in its environment.
        left_out: Details of runs that are not compared, because each language has its own.
    """

    name: str
    words: str
    service: dict[str, Any] = field(default_factory=dict)
    between: str = ""
    env: dict[str, str] = field(default_factory=dict)
    tls: str = ""
    token: dict[str, Any] | None = None
    program_of: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    exit: int | None = 0
    runs: list[dict[str, Any]] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    spans: list[dict[str, Any]] | None = None
    receiver: str = "service"
    left_out: list[str] = field(default_factory=list)

    def program(self, language: Language) -> Path:
        """Return the path of the program in a language."""
        return FOLDER / (self.program_of or self.name) / language.program


def load_all() -> list[IdiomCase]:
    """Read all cases, by name."""
    return [load(path.parent) for path in sorted(FOLDER.glob("*/case.yaml"))]


def load(folder: Path) -> IdiomCase:
    """Read the case in a folder."""
    data = yaml.safe_load((folder / "case.yaml").read_text(encoding="utf-8"))
    data["words"] = " ".join(data["words"].split())
    data["env"] = {name: str(value) for name, value in data.get("env", {}).items()}
    return IdiomCase(name=folder.name, **data)


def run_case(
    case: IdiomCase,
    language: Language,
    start_service: Callable[..., ServiceProcess],
    folder: Path,
) -> None:
    """Run a case.

    Raises:
        AssertionError: The record differs from the expected one.
    """
    with ExitStack() as stack:
        receiver = None
        security = Security(folder, tls=case.tls, token=case.token)
        options = {**case.service, **security.service_options()}
        if case.spans is not None:
            receiver = stack.enter_context(OtlpReceiver())
        if receiver is not None and case.receiver == "service":
            options["arguments"] = ("--otlp-endpoint", receiver.endpoint)
        service = start_service(**options)
        address = service.address
        if case.between:
            requests, responses = BETWEEN[case.between]
            proxy = SkewProxy(address, requests=requests, responses=responses)
            address = stack.enter_context(proxy).address
        program = stack.enter_context(
            Program(
                language,
                case.program(language),
                home=folder / "program",
                address=address,
                env={
                    **case.env,
                    **security.program_env(service),
                    **(_receiver_env(receiver) if case.receiver == "program" else {}),
                },
            )
        )
        try:
            steps = Steps(service, program, security, receiver)
            for step in case.steps:
                steps.perform(step)
            program.finish(case.exit)
            _compare("printed", program.printed, case.printed)
            for text in case.said:
                assert text.lower() in program.output.lower(), f"the program did not say {text!r}"
            _wait_for_ends(service)
            _compare("runs", Record(service.channel, case.left_out).trees(), case.runs)
            if receiver is not None:
                assert case.spans is not None
                count = _count(case.spans)
                spans = receiver.all_spans
                receiver.wait_for(lambda _: len(comparable(spans)) >= count, f"{count} spans")
                _compare("spans", span_trees(spans), case.spans)
        except AssertionError as error:
            error.add_note(f"{case.name}: {case.words}\n{program.output}")
            raise


def read_result(
    writer: Language,
    reader: Language,
    start_service: Callable[..., ServiceProcess],
    folder: Path,
) -> None:
    """Let a program of one language read the result that a program of another one has written.

    Raises:
        AssertionError: It read another value.
    """
    writing, reading = load(FOLDER / "write_result"), load(FOLDER / "read_result")
    service = start_service()
    where: dict[str, Any] = {"home": folder / "program", "address": service.address, "env": {}}
    with Program(writer, writing.program(writer), **where) as program:
        program.finish(0)
    (run,) = run_queries.flow_runs(service.channel)
    with Program(reader, reading.program(reader), **where) as program:
        program.say(run.id)
        try:
            program.finish(0)
            _compare("printed", program.printed, reading.printed)
        except AssertionError as error:
            error.add_note(program.output)
            raise


def _receiver_env(receiver: OtlpReceiver | None) -> dict[str, str]:
    """Return the variables that tell a program where its receiver is."""
    if receiver is None:
        return {}
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }


def _count(spans: list[dict[str, Any]]) -> int:
    return sum(1 + _count(span.get("children", [])) for span in spans)


def _wait_for_ends(service: ServiceProcess) -> None:
    """Wait until the service has noticed the end of each run, also of a killed program."""

    def all_ended() -> bool:
        channel = service.channel
        runs = [*run_queries.flow_runs(channel), *run_queries.task_runs(channel)]
        return all(run.HasField("end_time") for run in runs)

    run_queries.wait_until(all_ended, "the end of all runs")


def _compare(what: str, found: Any, expected: Any) -> None:
    def text(value: Any) -> str:
        dumped: str = yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=200)
        return dumped

    assert text(found) == text(expected), f"{what}: found\n{text(found)}"


class Program:
    """The process of a program; use it as a context manager: leaving it ends the process.

    Args:
        language: Its language.
        path: The path of the program.
        home: Its FLOWSPAN_HOME.
        address: The address of the service.
        env: Further environment variables.
    """

    def __init__(
        self, language: Language, path: Path, *, home: Path, address: str, env: dict[str, str]
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._lines: list[str] = []
        self._has_codes_for_signals = language.has_codes_for_signals
        self._unread: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [*dying_with_us(), *language.program_command(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={
                **os.environ,
                "FLOWSPAN_HOME": str(home),
                "FLOWSPAN_ADDRESS": address,
                "PYTHONUNBUFFERED": "1",
                "PYTHONUTF8": "1",
                **env,
            },
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:  # a line was written after the process had ended
                continue

    @property
    def output(self) -> str:
        """Everything that it wrote so far, shortened at the beginning."""
        return "".join(self._lines)[-3000:]

    @property
    def printed(self) -> list[str]:
        """The lines for the test that it wrote so far."""
        lines = [line.removesuffix("\n") for line in self._lines]
        return [line.removeprefix(OWN) for line in lines if line.startswith(OWN)]

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def await_line(self, text: str) -> None:
        """Wait for a line for the test."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                line = self._unread.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            assert line is not None, f"no line {text!r}"
            if line.rstrip("\n") == OWN + text:
                return

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def finish(self, expected_code: int | None) -> None:
        """Wait for its end."""
        code = self._process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        if self._has_codes_for_signals and code > SIGNAL_CODES:
            code = SIGNAL_CODES - code
        if expected_code is not None:
            assert code == expected_code, f"the program ended with {code}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
            self._unread.put(line)
        self._unread.put(None)


class Steps:
    """The steps of a case: each is a mapping with one key, the name of a method."""

    def __init__(
        self,
        service: ServiceProcess,
        program: Program,
        security: Security,
        receiver: OtlpReceiver | None,
    ) -> None:
        self._receiver = receiver
        self._service = service
        self._program = program
        self._security = security

    def perform(self, step: dict[str, Any]) -> None:
        """Perform a step."""
        ((name, value),) = step.items()
        getattr(self, name)(value)

    def await_line(self, text: str) -> None:
        """Wait until the program prints a line."""
        self._program.await_line(text)

    def await_running(self, name: str) -> None:
        """Wait until the service has the run of a flow or task as RUNNING."""

        def is_running() -> bool:
            return any(type_name(run) == "RUNNING" for run in self._runs(name))

        run_queries.wait_until(is_running, f"{name} to run")

    def await_span(self, name: str) -> None:
        """Wait until the receiver has a span."""
        assert self._receiver is not None
        self._receiver.wait_for(
            lambda spans: any(span.name == name for span in spans), f"the span {name}"
        )

    def say(self, line: str) -> None:
        """Write a line to the program."""
        self._program.say(line)

    def cancel(self, flow: str) -> None:
        """Cancel the run of a flow and what it called."""
        (run,) = self._runs(flow)
        stub = flow_run_service_pb2_grpc.FlowRunServiceStub(self._service.channel)
        stub.CancelFlowRun(flow_run_service_pb2.CancelFlowRunRequest(id=run.id, reason="enough"))

    def cancel_task(self, task: str) -> None:
        """Cancel the run of a task and what it called."""
        (run,) = self._runs(task)
        stub = task_run_service_pb2_grpc.TaskRunServiceStub(self._service.channel)
        stub.CancelTaskRun(task_run_service_pb2.CancelTaskRunRequest(id=run.id, reason="enough"))

    def kill_service(self, _: Any) -> None:
        """Kill the service."""
        self._service.kill()

    def stop_service(self, _: Any) -> None:
        """Stop the service in an orderly way: it says so to its clients."""
        assert self._service.stop() == 0

    def start_service(self, _: Any) -> None:
        """Start the service again, on the same port."""
        self._service.start()

    def suspend(self, _: Any) -> None:
        """Stop the program, as if its machine slept."""
        self._program.signal(signal.SIGSTOP)

    def resume(self, _: Any) -> None:
        """Let the program continue."""
        self._program.signal(signal.SIGCONT)

    def kill(self, _: Any) -> None:
        """Kill the program."""
        self._program.signal(signal.SIGKILL)

    def terminate(self, _: Any) -> None:
        """Ask the program to end, as an operating system does."""
        self._program.signal(signal.SIGTERM)

    def await_state(self, states: dict[str, str]) -> None:
        """Wait until runs are in a state of a type."""
        for name, kind in states.items():
            run_queries.wait_until(
                lambda name=name, kind=kind: [type_name(run) for run in self._runs(name)] == [kind],
                f"{name} to be {kind}",
            )

    def report_result(self, result: dict[str, str]) -> None:
        """Report a run of another language with a result in JSON, and say its id."""
        stream = ReportStream(self._service.channel)
        run_id = new_id()
        payload = payload_pb2.Payload(encoding="json", data=result["json"].encode())
        stream.wait_for_ack(
            stream.report(
                created(run_id, function_name=result["flow"]),
                entered(run_id, "RUNNING"),
                entered(run_id, "COMPLETED", result=payload),
            )
        )
        stream.goodbye()
        self._program.say(run_id)

    def check_result(self, results: dict[str, str]) -> None:
        """Wait until a run is Completed, and compare its result as JSON."""
        for name, expected in results.items():
            self.await_state({name: "COMPLETED"})
            (run,) = self._runs(name)
            result = run.state.result
            assert result.encoding == "json", result
            assert json.loads(result.data) == json.loads(expected), result

    def revoke_token(self, _: Any) -> None:
        """Revoke the access token of the program."""
        self._security.revoke(self._service)

    def replace_token(self, _: Any) -> None:
        """Put a new access token into the file of the program."""
        self._security.replace(self._service)

    def await_denied(self, method: str) -> None:
        """Wait until the service has denied a call of a method, as its audit log shows."""
        run_queries.wait_until(
            lambda: any(
                "denied" in line and f"/flowspan.v1.{method}" in line
                for line in self._service.log.splitlines()
            ),
            f"a denied {method}",
        )

    def set_variable(self, variable: dict[str, str]) -> None:
        """Set a variable."""
        stub = variable_service_pb2_grpc.VariableServiceStub(self._service.channel)
        stub.SetVariable(
            variable_service_pb2.SetVariableRequest(
                variable=variable_pb2.Variable(
                    name=variable["name"],
                    value=payload_pb2.Payload(encoding="json", data=variable["json"].encode()),
                )
            )
        )

    def _runs(self, name: str) -> list[Any]:
        channel = self._service.channel
        flows = [run for run in run_queries.flow_runs(channel) if run.flow_name == name]
        return flows or [run for run in run_queries.task_runs(channel) if run.task_name == name]


def _an_hour_ahead(method: str, frame: bytes) -> Iterable[bytes]:
    """Rewrite a report as a client would send it whose clock is an hour ahead."""
    if not method.startswith("/flowspan.v1.ReportService/"):
        return [frame]
    request = request_class(method).FromString(frame)
    _shift(request)
    return [request.SerializeToString()]


def _shift(message: Message) -> None:
    for descriptor, value in message.ListFields():
        kind = descriptor.message_type
        if kind is None or kind.GetOptions().map_entry:
            continue
        for each in value if descriptor.is_repeated else [value]:
            if kind.full_name == "google.protobuf.Timestamp":
                each.seconds += HOUR_S
            else:
                _shift(each)


def _unchanged(method: str, frame: bytes) -> Iterable[bytes]:
    del method
    return [frame]


BETWEEN = {
    "newer": (newer_requests, newer_responses),
    "ahead": (_an_hour_ahead, _unchanged),
}
