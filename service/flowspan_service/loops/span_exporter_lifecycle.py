"""Export of the spans that clients cannot export, if an OTLP endpoint is configured."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowspan_service.app.ports import Clock, Store
    from flowspan_service.config import Config
    from flowspan_service.domain.span_facts import SpanDecoder

_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@contextlib.contextmanager
def exporting_spans(
    config: Config,
    store: Store,
    clock: Clock,
    environ: Mapping[str, str],
    decoder: SpanDecoder,
) -> Iterator[None]:
    """Export spans during the block; no-op without an endpoint.

    Args:
        config: Names the endpoint, and the folder where an earlier version left its position.
        store: The store.
        clock: The time.
        environ: The environment, whose standard variables may name an endpoint, too.
        decoder: Decodes the facts that spans show.
    """
    if not config.otlp_endpoint and not any(environ.get(name) for name in _ENDPOINT_VARIABLES):
        yield
        return
    # OpenTelemetry's exporter is slow to import and seldom needed.
    from flowspan_service.loops.span_exporter import span_exporter  # noqa: PLC0415 - start-up cost

    exporter = span_exporter(
        store,
        clock,
        endpoint=config.otlp_endpoint or None,
        home=config.home,
        environ=environ,
        decoder=decoder,
    )
    if exporter is None:
        yield
        return
    exporter.start()
    try:
        yield
    finally:
        exporter.close()
