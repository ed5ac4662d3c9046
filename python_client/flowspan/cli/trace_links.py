"""Links from runs to their traces, and `flowspan run open`."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

import typer
from rich.style import Style
from rich.text import Text

from flowspan.cli import options  # noqa: TC001 - typer reads the annotations
from flowspan.cli.lookup import find_run
from flowspan.cli.session import CommandError, session
from flowspan.config import get_config
from flowspan.core.trace_urls import trace_url_told, url_of_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowspan.api.client import SyncFlowspanClient
    from flowspan.api.models import Run, ServiceInfo

_EXAMPLE = "http://localhost:16686/trace/{trace_id}"


class TraceLinks:
    """The addresses of the traces of runs.

    Args:
        read_info: Asks the service for its state and settings; called at most once, and not if
            FLOWSPAN_TRACE_URL is set.
    """

    def __init__(self, read_info: Callable[[], ServiceInfo]) -> None:
        self._read_info = read_info

    @classmethod
    def of(cls, client: SyncFlowspanClient) -> TraceLinks:
        """Return the links by the settings of this process, else by those of a service."""
        return cls(client.read_service_info)

    @cached_property
    def trace_url(self) -> str:
        """The address of a trace with a placeholder for its id; empty if none is configured."""
        return get_config().trace_url or trace_url_told(self._read_info().trace_url)

    def url_of(self, run: Run) -> str | None:
        """Return the address of a run's trace; None without one, or if it was not sampled."""
        if run.trace is None or not run.trace.is_sampled:
            return None
        return url_of_trace(self.trace_url, run.trace.traceparent) or None

    def text_of(self, run: Run) -> Text:
        """Return the trace of a run for people: a link, or else its id; empty without a trace."""
        if run.trace is None or not run.trace.trace_id:
            return Text()
        if not run.trace.is_sampled:
            return Text(f"{run.trace.trace_id}, not sampled: its spans were not exported")
        url = self.url_of(run)
        return Text(run.trace.trace_id) if url is None else linked(url)


def linked(url: str) -> Text:
    """Return a URL as text that a terminal can open."""
    return Text(url, style=Style(link=url))


def open_run(
    ctx: typer.Context,
    run_id: options.RunId,
    *,
    print_: Annotated[
        bool, typer.Option("--print", help="Print the address, and open nothing.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Open the trace of a run in the browser.

    The address comes from FLOWSPAN_TRACE_URL, or else from the service
    (`server start --trace-url`). Without a browser, as over ssh, it is only
    printed.

    Try:

        flowspan run open latest

        flowspan run open latest --print
    """
    this = session(ctx)
    client = this.client()
    run = find_run(client, run_id, now=this.now)
    url = _address_of(run, TraceLinks.of(client))
    is_open = not print_ and _open(url)
    if json:
        trace_id = "" if run.trace is None else run.trace.trace_id
        found = {"id": str(run.id), "trace_id": trace_id, "trace_url": url, "opened": is_open}
        this.print_json(found)
        return
    this.print(linked(url))
    if not print_ and not is_open:
        this.err.print("There is no browser here: open the address yourself.", style="dim")


def _address_of(run: Run, links: TraceLinks) -> str:
    if run.trace is None or not run.trace.trace_id:
        raise CommandError(
            f"the run {run.id} has no trace: no spans were made",
            advice="Set OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 where the flow runs, or "
            "start the service with --otlp-endpoint; then run it again.",
        )
    if not run.trace.is_sampled:
        raise CommandError(
            f"the trace {run.trace.trace_id} was not sampled: its spans were not exported",
            advice="Sampling is set where the trace begins, as by OTEL_TRACES_SAMPLER=always_on.",
        )
    url = links.url_of(run)
    if url is None:
        raise CommandError(
            f"the address of the trace {run.trace.trace_id} is not known",
            advice=f"Set FLOWSPAN_TRACE_URL='{_EXAMPLE}', or start the service with --trace-url.",
        )
    return url


def _open(url: str) -> bool:
    """Open a page in the browser; return False without one."""
    if not has_browser(os.environ, sys.platform):
        return False
    import webbrowser  # noqa: PLC0415 - start-up cost of all other commands

    try:
        return webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False


def has_browser(environ: Mapping[str, str], platform: str) -> bool:
    """Return True if a browser with a window can be expected.

    A browser in the terminal shows no trace: the pages of trace viewers need JavaScript.
    """
    if environ.get("BROWSER", "").strip():
        return True
    if platform in ("darwin", "win32"):
        return not environ.get("SSH_CONNECTION")
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
