"""The run context between processes: the run that called this one, and the run that calls others.

docs/decisions/run-context.md explains which carrier comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan import telemetry
from flowspan.config import outer_run_text
from flowspan.connection import run_context
from flowspan.connection.run_context import parse_or_warn
from flowspan.core.run import current_run
from flowspan.core.run_context import HEADER, MEMBER, VARIABLE, called_by, format_run_context
from flowspan.drivers.process import await_local_service

if TYPE_CHECKING:
    from flowspan.core.run_context import OuterRun


def find_outer_run() -> OuterRun | None:
    """Return the run of another process that called the running code; None without one.

    It is, in this order, the run that the header of the served call names, the run in the
    tracestate of the current span, and the run that started the process.
    """
    called = called_by.get()
    if called is not None:
        return called
    member = telemetry.current_member()
    if member is not None:
        outer = parse_or_warn(member, f"{MEMBER}= in the tracestate of the current span")
        if outer is not None:
            return outer
    text, variable = outer_run_text()
    return parse_or_warn(text, variable) if text else None


def run_headers() -> dict[str, str]:
    """Return the headers that make a called program's runs children of the current run.

    Returns:
        A dict with ``flowspan-run`` and, if there is a span, ``traceparent`` and ``tracestate``;
        empty outside runs. The names are in lower case, as gRPC metadata needs them.
    """
    run = current_run.get()
    if run is None:
        return {}
    record = run.record
    headers = {HEADER: format_run_context(record.id, record.root_run_id)}
    headers.update(telemetry.inject_run(run.span, record))
    return headers


run_context.register(run_headers)


def run_environ() -> dict[str, str]:
    """Return the environment variables that make a child process's runs children of this run.

    For example::

        subprocess.run(command, env={**os.environ, **run_environ()})

    Waits for the local service if this process is just starting it, because the child process needs
    it.

    Returns:
        A dict with FLOWSPAN_RUN and, if there is a span, TRACEPARENT and TRACESTATE; empty outside
        runs.
    """
    headers = run_headers()
    if headers:
        await_local_service()
    return {VARIABLE if name == HEADER else name.upper(): text for name, text in headers.items()}
