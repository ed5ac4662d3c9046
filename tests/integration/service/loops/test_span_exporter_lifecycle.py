"""The loop of the span exporter in a service process: its imports, and its senders."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.memory_store import ManualClock, MemoryStore
from tests.support.otlp import HttpOtlpReceiver, OtlpReceiver
from tests.support.span_exports import Begin, End

from flowspan_service.api.span_facts import MessageDecoder
from flowspan_service.config import load
from flowspan_service.domain.otlp_receivers import Signal
from flowspan_service.domain.sessions import OtlpTarget, Session, SessionStatus
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.loops import span_exporter_lifecycle
from flowspan_service.loops.otlp_receivers import receivers_of
from flowspan_service.loops.span_exporter_lifecycle import exporting_spans
from flowspan_service.transports.otlp import OtlpConnections

if TYPE_CHECKING:
    from pathlib import Path

IMPORTS = """
import sys
import flowspan_service.main
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_a_service_imports_opentelemetry_with_the_first_span() -> None:
    command = [sys.executable, "-c", IMPORTS]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_headers_go_to_the_receiver_of_the_service_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, protocol: str, is_own: bool
) -> None:
    monkeypatch.setattr(span_exporter_lifecycle, "LATE_START_S", 0.0)
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20secret"}
    store = MemoryStore(ManualClock())
    receiver: Any = OtlpReceiver() if protocol == "grpc" else HttpOtlpReceiver()
    with receiver:
        arguments = ["--home", str(tmp_path), "--otlp-protocol", protocol]
        if is_own:
            arguments += ["--otlp-endpoint", receiver.endpoint]
        url = receiver.endpoint if protocol == "grpc" else f"{receiver.endpoint}/v1/traces"
        target = None if is_own else OtlpTarget(protocol, url)
        store.data.sessions["s"] = Session("s", SessionStatus.CLOSED, 0, 1, 1, 1)
        store.data.targets["s"] = target
        config = load(arguments, {})
        receivers = receivers_of(Signal.TRACES, config, environ, is_private=True)
        connect = OtlpConnections(environ)
        with exporting_spans(config, store, store.clock, receivers, MessageDecoder(), connect):
            store.do(Begin("lost"))
            store.data.runs["lost"].session_id = "s"
            store.do(End("lost", StateType.CRASHED, Cause.SESSION_LOST))
            receiver.wait_for(bool, "span")
    assert receiver.names == ["lost"]
    sent = receiver.metadata[0].get("authorization")
    assert sent == ("Bearer secret" if is_own else None)
