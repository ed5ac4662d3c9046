"""A real Jaeger for tests: in memory, on free ports, queried over its API."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.support.child_processes import dying_with_us
from tests.support.otlp import depends_on_load, without_chance

BUILD_SCRIPT = Path(__file__).parents[2] / "scripts" / "build-jaeger.sh"
NO_JAEGER = 3
"""The exit code of the script if there is neither a Jaeger nor a Go to build one."""
WAIT_S = 60.0
POLL_S = 0.05

CONFIG = """
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
    logs: {{level: warn}}
extensions:
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{query_grpc}"}}
  jaeger_storage:
    backends:
      memory: {{memory: {{max_traces: 10000}}}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{otlp}"}}
      http: {{endpoint: "127.0.0.1:{otlp_http}"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"""


@dataclass(frozen=True)
class JaegerSpan:
    """A span as Jaeger shows it."""

    name: str
    span_id: str
    parent_id: str
    start_us: int
    duration_us: int
    tags: dict[str, Any]
    events: list[dict[str, Any]]
    service_name: str
    warnings: list[str]
    links: list[str]
    """The ids of the linked spans of the same trace."""

    @property
    def is_error(self) -> bool:
        """True if Jaeger draws it red."""
        return self.tags.get("error") is True

    @property
    def is_synthetic(self) -> bool:
        """True if flowspan's service created it."""
        return self.tags.get("flowspan.span.synthetic") is True


@dataclass
class Jaeger:
    """A Jaeger process.

    Attributes:
        program: The path of the program.
        folder: The folder for its configuration and its log.
        ports: Its ports, by name.
    """

    program: Path
    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The endpoint for spans (OTLP/gRPC)."""
        return f"http://127.0.0.1:{self.ports['otlp']}"

    @property
    def http_endpoint(self) -> str:
        """The endpoint for spans (OTLP/HTTP)."""
        return f"http://127.0.0.1:{self.ports['otlp_http']}"

    @property
    def log(self) -> str:
        """The output of the process."""
        return (self.folder / "jaeger.log").read_text(errors="replace")

    def start(self) -> None:
        """Start Jaeger and wait until it answers."""
        self.ports = free_ports("query", "query_grpc", "otlp", "otlp_http")
        config = self.folder / "jaeger.yaml"
        config.write_text(CONFIG.format(**self.ports))
        with (self.folder / "jaeger.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*dying_with_us(), self.program, "--config", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                self.get("/api/services")
                break
            except (URLError, ConnectionError):
                code = self._process.poll()
                assert code is None, f"Jaeger ended with code {code}:\n{self.log}"
                assert time.monotonic() < deadline, f"Jaeger did not start in time:\n{self.log}"
                time.sleep(POLL_S)

    def end(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(WAIT_S)

    def get(self, path: str) -> Any:
        """Query the API; return the decoded answer."""
        url = f"http://127.0.0.1:{self.ports['query']}{path}"
        with urlopen(url, timeout=WAIT_S) as response:
            return json.load(response)

    def trace(self, trace_id: str) -> list[JaegerSpan]:
        """Return the spans of a trace by start time, without those that depend on the load.

        Empty if Jaeger has none (yet).
        """
        return without_chance(self.whole_trace(trace_id))

    def whole_trace(self, trace_id: str) -> list[JaegerSpan]:
        """Return all spans of a trace by start time; empty if Jaeger has none (yet)."""
        try:
            (found,) = self.get(f"/api/traces/{trace_id}")["data"]
        except HTTPError as error:
            if error.code != 404:
                raise
            return []
        services = {key: value["serviceName"] for key, value in found["processes"].items()}
        spans = [_span(item, services) for item in found["spans"]]
        return sorted(spans, key=lambda span: span.start_us)

    def wait_for_trace(self, trace_id: str, names: list[str]) -> list[JaegerSpan]:
        """Wait until the trace has exactly the spans of these names; return them.

        Spans that depend on the load of the machine count only if the names have some.
        """
        deadline = time.monotonic() + WAIT_S
        read = self.whole_trace if any(map(depends_on_load, names)) else self.trace
        while True:
            spans = read(trace_id)
            if sorted(span.name for span in spans) == sorted(names):
                return spans
            shown = [span.name for span in spans]
            assert time.monotonic() < deadline, f"the trace has {shown} instead of {names}"
            time.sleep(POLL_S)


def find_jaeger() -> Path | None:
    """Return the path of the program, building it if needed; None if that is not possible."""
    done = subprocess.run([BUILD_SCRIPT], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == NO_JAEGER:
        return None
    assert done.returncode == 0, f"{BUILD_SCRIPT.name} ended with code {done.returncode}"
    return Path(done.stdout.strip())


def free_ports(*names: str) -> dict[str, int]:
    """Return ports that are currently unused."""
    sockets = [socket.socket() for _ in names]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return {name: item.getsockname()[1] for name, item in zip(names, sockets, strict=True)}
    finally:
        for item in sockets:
            item.close()


def _span(item: dict[str, Any], services: dict[str, str]) -> JaegerSpan:
    parents = [ref["spanID"] for ref in item["references"] if ref["refType"] == "CHILD_OF"]
    return JaegerSpan(
        name=item["operationName"],
        span_id=item["spanID"],
        parent_id=parents[0] if parents else "",
        start_us=item["startTime"],
        duration_us=item["duration"],
        tags={tag["key"]: tag["value"] for tag in item["tags"]},
        events=[{pair["key"]: pair["value"] for pair in log["fields"]} for log in item["logs"]],
        service_name=services[item["processID"]],
        warnings=item.get("warnings") or [],
        links=[
            ref["spanID"]
            for ref in item["references"]
            if ref["refType"] == "FOLLOWS_FROM" and ref["traceID"] == item["traceID"]
        ],
    )
