"""Summary that a program prints at the end of a run: the outcome and follow-up commands."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from flowspan.api.client import SyncFlowspanClient
from flowspan.cli import format as fmt
from flowspan.cli.lookup import short_id
from flowspan.cli.safe_text import clean
from flowspan.cli.state_view import state_text
from flowspan.cli.trace_links import TraceLinks
from flowspan.config import get_config
from flowspan.exceptions import FlowspanError

if TYPE_CHECKING:
    from uuid import UUID

    from rich.console import Console

    from flowspan.api.models import FlowRun, ServiceInfo

_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def print_summary(console: Console, run_id: UUID | str, *, address: str | None = None) -> None:
    """Print the outcome of a flow run, and commands to inspect it further.

    If the service is unreachable, print the reason instead of raising.

    Args:
        console: The console to print to.
        run_id: The flow run.
        address: The service's address; the configured one if None.
    """
    try:
        with SyncFlowspanClient(address) as client:
            run = client.read_flow_run(run_id)
            info = client.read_service_info()
    except FlowspanError as error:
        console.print(clean(f"run {run_id}: {error}"), soft_wrap=True, markup=False)
        return
    for line in _lines(run, info):
        console.print(line, soft_wrap=True)


def _lines(run: FlowRun, info: ServiceInfo) -> list[Text]:
    now = datetime.now(UTC)  # noqa: TID251 - for a run that is still running
    outcome = Text.assemble((fmt.visible(run.flow_name), "bold"), f" {fmt.visible(run.name)}  ")
    outcome.append_text(state_text(run.state.type, run.state.name))
    took = fmt.run_duration(run, now=now)
    outcome.append(f" in {took}" if took else "")
    waited = fmt.run_wait(run, now=now)
    outcome.append(f", waited {waited}" if waited else "")
    reason = fmt.reason(run.state) if run.state.failure is not None else ""
    if reason:
        outcome.append(f"  {reason}", style="red")
    short, command = short_id(run.id), _command()
    return [
        outcome,
        _field("run", str(run.id)),
        _field("trace", _trace(run, info)),
        _field("tree", f"{command} run show {short}"),
        _field("log", f"{command} run logs {short}"),
        _field("history", f"{command} run history {short}"),
    ]


def _command() -> str:
    """Return the command for a shell here: a path if `flowspan` is not on PATH."""
    beside = Path(sys.executable).with_name("flowspan")
    if shutil.which("flowspan") is not None or not beside.exists():
        return "flowspan"
    with contextlib.suppress(ValueError):
        return str(beside.relative_to(Path.cwd()))
    return str(beside)


def _trace(run: FlowRun, info: ServiceInfo) -> str | Text:
    if run.trace is None or not run.trace.trace_id:
        return "none; set OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 to record one"
    links = TraceLinks(lambda: info)
    if links.url_of(run) is not None or not run.trace.is_sampled:
        return links.text_of(run)
    endpoint = next(filter(None, map(os.environ.get, _ENDPOINT_VARIABLES)), None)
    endpoint = endpoint or get_config().otlp_endpoint or info.otlp_endpoint
    return f"{run.trace.trace_id}; spans go to {endpoint}" if endpoint else run.trace.trace_id


def _field(name: str, value: str | Text) -> Text:
    shown = value if isinstance(value, Text) else fmt.visible(value)
    return Text.assemble((f"  {name:<8}", "dim"), shown)
