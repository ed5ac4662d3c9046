"""Metrics of this process: the decision whether and where to, and the export.

The first of these rules that applies decides, at the first run of a process:

1. ``OTEL_SDK_DISABLED=true``, or ``OTEL_METRICS_EXPORTER=none``: no metrics.
2. A meter provider that the program installed: it gets instruments, and exports as it likes.
3. ``OTEL_METRICS_EXPORTER=otlp``: the receiver of the ``OTEL_EXPORTER_OTLP_*`` variables, or
   ``FLOWSPAN_OTLP_ENDPOINT``; ``console``: standard output.

Otherwise there are no metrics, and nothing is counted. OpenTelemetry's messages are imported in the
thread of the export, for the first one.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import uuid
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.after_fork import renew_after_fork
from flowspan.exceptions import ConfigError
from flowspan.own_threads import own_thread
from flowspan.telemetry.endpoint import METRICS, SendError, names_endpoint, target_of
from flowspan.telemetry.export_queue import suppress_instrumentation
from flowspan.telemetry.fork_guard import no_fork
from flowspan.telemetry.logs import process_attributes
from flowspan.telemetry.metric_choice import EXPORTER, has_meter_provider
from flowspan.telemetry.metric_counts import RunCounts
from flowspan.telemetry.process_end import begin_exit, exit_time_left
from flowspan.telemetry.transports import transport_to

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    from flowspan.config import Config
    from flowspan.core.events import Event
    from flowspan.telemetry.endpoint import Target
    from flowspan.telemetry.metric_choice import ReportFigures
    from flowspan.telemetry.metric_instruments import ProviderMeter

logger = logging.getLogger("flowspan.telemetry")

DEFAULT_INTERVAL_S = 60.0
_LONGEST_SEND_S = 10.0


class Meter:
    """Counts the runs of this process, and exports the counts.

    Args:
        figures: The figures of the reporter.
        target: The receiver; None for standard output.
        environ: The environment.

    Attributes:
        observe: Counts events, in the reporter's thread.
    """

    def __init__(
        self, figures: ReportFigures, target: Target | None, environ: Mapping[str, str]
    ) -> None:
        self._figures = figures
        self._target = target
        self._transport = None if target is None else transport_to(target)
        self._environ = environ
        self._interval_s = interval_s(environ)
        self._counts = RunCounts()
        self._warned = False
        self._prepare()
        renew_after_fork(self)

    def _prepare(self) -> None:
        self.observe: Callable[[Sequence[Event]], object] = self._begin
        self._instance_id = str(uuid.uuid4())
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def after_fork(self) -> None:
        """Begin anew in the child: the parent exports its own counts."""
        self._counts.reset()
        if self._transport is not None:
            self._transport.reset()
        self._prepare()

    def shutdown(self) -> None:
        """Export the last counts within the time for the end of the process."""
        begin_exit()
        self._closing.set()
        if self._thread is not None:
            self._thread.join(exit_time_left())

    def close(self) -> None:
        """Export the last counts in the background."""
        self._closing.set()

    def _begin(self, events: Sequence[Event]) -> None:
        """Count the first events, and start the thread; later ones are only counted."""
        self.observe = self._counts.note
        self._counts.note(events)
        thread = own_thread("flowspan-metrics", self._run)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending
            return
        self._thread = thread

    def _run(self) -> None:
        # Now rather than at the end of the process: classes that an import makes there would hide
        # from Python that Ctrl-C ended the program, and its exit code would be 1.
        with contextlib.suppress(Exception):  # the export fails, too, and says why
            _load()
        while not self._closing.wait(self._interval_s):
            self._export()
        self._export()
        if self._transport is not None:
            self._transport.close()

    def _export(self) -> None:
        try:
            self._send(self._request())
        except SendError as error:
            self._warn(error)
        except Exception as error:
            self._warn(error)
            logger.debug("The metrics could not be exported.", exc_info=True)

    def _request(self) -> ExportMetricsServiceRequest:
        request_of = _load()
        resource = dict(process_attributes(self._environ))
        resource.setdefault("service.instance.id", self._instance_id)
        return request_of(
            self._counts,
            self._figures,
            resource=resource,
            time_ns=clock.now_ns(),
        )

    def _send(self, request: ExportMetricsServiceRequest) -> None:
        if self._transport is None or self._target is None:
            _write(request)
            return
        timeout_s = min(self._target.timeout_s, _LONGEST_SEND_S)
        if self._closing.is_set():
            timeout_s = min(timeout_s, exit_time_left())
        self._transport.send(request.SerializeToString(), timeout_s)

    def _warn(self, why: object) -> None:
        # Nothing is lost: the counts are totals, and the next export has them all.
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        place = "standard output" if self._target is None else self._target.url
        logger.log(
            level,
            "Metrics cannot be delivered to %s: %s. The flow continues; this is logged only once.",
            *(place, why),
        )


def _load() -> Callable[..., ExportMetricsServiceRequest]:
    """Import what an export needs; return the function that makes its request."""
    with no_fork():
        suppress_instrumentation()
        from flowspan.telemetry.metric_records import request_of  # noqa: PLC0415 - start-up cost

    return request_of


def make_meter(
    config: Config, figures: ReportFigures, environ: Mapping[str, str]
) -> Meter | ProviderMeter | None:
    """Return the counter of the events of runs, by the rules of this module; None if that fails.

    Args:
        config: The client's settings.
        figures: The figures of the reporter.
        environ: The environment, which asks for metrics.
    """
    try:
        if has_meter_provider():
            from flowspan.telemetry.metric_instruments import (  # noqa: PLC0415 - imports OpenTelemetry
                ProviderMeter,
            )

            return ProviderMeter(figures)
        return Meter(figures, _target(config, environ), environ)
    except Exception as error:
        is_debugging = logger.isEnabledFor(logging.DEBUG)
        logger.warning("Metrics are off: %s", error, exc_info=is_debugging)
        return None


def interval_s(environ: Mapping[str, str]) -> float:
    """Return the time between two exports; values that are not positive numbers are ignored."""
    try:
        value = float(environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")) / 1000
    except ValueError:
        return DEFAULT_INTERVAL_S
    return value if 0 < value <= threading.TIMEOUT_MAX else DEFAULT_INTERVAL_S


def _target(config: Config, environ: Mapping[str, str]) -> Target | None:
    exporters = environ.get(EXPORTER, "").strip().lower()
    names = {name.strip() for name in exporters.split(",")}
    if "otlp" in names:
        endpoint = None if names_endpoint(environ, METRICS) else config.otlp_endpoint
        return target_of(environ, endpoint, METRICS)
    if names == {"console"}:
        return None
    msg = f"{EXPORTER}={exporters!r}: expected 'otlp', 'console' or 'none'"
    raise ConfigError(msg)


def _write(request: ExportMetricsServiceRequest) -> None:
    """Write the metrics to standard output, as one line of JSON."""
    from google.protobuf.json_format import MessageToJson  # noqa: PLC0415 - only for the console

    if sys.stdout is not None:
        sys.stdout.write(MessageToJson(request, indent=None) + "\n")
        sys.stdout.flush()
