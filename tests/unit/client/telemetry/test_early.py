"""Spans before the first run decides where spans go."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

from flowspan import telemetry
from flowspan.config import Config
from flowspan.telemetry import early
from flowspan.telemetry import provider as provider_module
from flowspan.telemetry.setup import decide, trace_early

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flowspan.telemetry.endpoint import Target

STANDARD = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


class Recording(TracerProvider):
    """A provider that keeps its spans."""

    def __init__(self) -> None:
        super().__init__(shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        self.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def names(self) -> list[str]:
        """The names of the ended spans."""
        return [span.name for span in self._exporter.get_finished_spans()]


@pytest.fixture(autouse=True)
def no_provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove the global provider, as in a fresh process."""
    early.leave()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    yield
    early.leave()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    """Return the providers that flowspan creates; they keep their spans."""
    found: list[Recording] = []

    def make(exporters: str, target: Target, environ: Any) -> Recording:
        found.append(Recording())
        return found[-1]

    monkeypatch.setattr(provider_module, "make_provider", make)
    return found


def span(tracer: trace.Tracer, name: str) -> None:
    with tracer.start_as_current_span(name):
        pass


def test_tracers_taken_before_and_after_use_the_provisional_provider() -> None:
    before, provider = trace.get_tracer("before"), Recording()
    span(before, "lost")
    assert early.stand_in(lambda: provider)
    span(before, "one")
    span(trace.get_tracer("after", "1.0", schema_url="https://x.example"), "two")
    assert provider.names == ["one", "two"]
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def test_a_provider_that_the_program_installs_takes_over(caplog: pytest.LogCaptureFixture) -> None:
    tracer, provisional, own = trace.get_tracer("library"), Recording(), Recording()
    early.stand_in(lambda: provisional)
    span(tracer, "one")
    with caplog.at_level(logging.WARNING):
        trace.set_tracer_provider(own)
    span(tracer, "two")
    span(trace.get_tracer("another"), "three")
    assert (provisional.names, own.names) == (["one"], ["two", "three"])
    assert trace.get_tracer_provider() is own
    assert caplog.records == []


def test_nothing_is_made_before_the_first_span() -> None:
    asked: list[int] = []
    early.stand_in(lambda: asked.append(1))
    tracer = trace.get_tracer("library")
    assert (asked, early.provisional()) == ([], None)
    for _ in range(2):
        span(tracer, "not recorded")
    assert asked == [1], "it must be asked once"


def test_spans_of_the_code_that_makes_the_provider_are_not_recorded() -> None:
    tracer, provider = trace.get_tracer("library"), Recording()

    def make() -> Recording:
        span(tracer, "of the exporter")
        return provider

    early.stand_in(make)
    span(tracer, "one")
    assert provider.names == ["one"]


def test_threads_get_the_same_provider() -> None:
    made: list[Recording] = []

    def make() -> Recording:
        made.append(Recording())
        return made[-1]

    early.stand_in(make)
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        span(trace.get_tracer("library"), "work")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (provider,) = made
    assert provider.names == ["work"] * 8


def test_leaving_restores_the_property_of_opentelemetry() -> None:
    original = trace.ProxyTracer.__dict__["_tracer"]
    assert early.stand_in(Recording)
    assert trace.ProxyTracer.__dict__["_tracer"] is not original
    early.leave()
    assert trace.ProxyTracer.__dict__["_tracer"] is original


def test_a_program_with_a_provider_needs_no_stand_in() -> None:
    trace.set_tracer_provider(Recording())
    assert not early.stand_in(Recording)


@pytest.mark.parametrize("missing", ["_tracer", "_TRACER_PROVIDER", "arguments"])
def test_an_unexpected_release_of_opentelemetry_is_left_alone(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing == "_tracer":
        monkeypatch.delattr(trace.ProxyTracer, "_tracer")
    elif missing == "_TRACER_PROVIDER":
        monkeypatch.delattr(trace, "_TRACER_PROVIDER")
    else:
        monkeypatch.setattr(early, "_ARGUMENTS", ("_name", "_version"))
    before = trace.ProxyTracer.__dict__.get("_tracer")
    assert not early.stand_in(Recording)
    assert trace.ProxyTracer.__dict__.get("_tracer") is before


def test_the_first_run_installs_the_provisional_provider(
    tmp_path: Path, made: list[Recording]
) -> None:
    tracer = trace.get_tracer("library")
    trace_early(STANDARD)
    span(tracer, "start-up")
    assert decide(Config(home=tmp_path), None, environ=STANDARD).tracer is not None
    span(tracer, "later")
    (provider,) = made
    assert trace.get_tracer_provider() is provider
    assert provider.names == ["start-up", "later"]
    assert early.provisional() is None


def test_the_first_run_uses_a_provider_that_took_over(
    tmp_path: Path, made: list[Recording]
) -> None:
    trace_early(STANDARD)
    span(trace.get_tracer("library"), "start-up")
    own = Recording()
    trace.set_tracer_provider(own)
    tracer, is_final = decide(Config(home=tmp_path), None, environ=STANDARD)
    assert tracer is not None
    assert is_final
    assert trace.get_tracer_provider() is own
    assert early.provisional() is None
    assert [each.names for each in made] == [["start-up"]]


@pytest.mark.parametrize(
    "environ",
    [
        {**STANDARD, "OTEL_SDK_DISABLED": "true"},
        {**STANDARD, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "nonsense"},
    ],
)
def test_nothing_is_recorded_early_if_the_first_run_would_not_trace(
    environ: dict[str, str], made: list[Recording], caplog: pytest.LogCaptureFixture
) -> None:
    trace_early(environ)
    span(trace.get_tracer("library"), "start-up")
    assert made == []
    assert caplog.records == [], "the first run warns"


def test_flush_exports_what_was_recorded_early(
    made: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry.configure()
    trace_early(STANDARD)
    assert telemetry.flush()
    span(trace.get_tracer("library"), "start-up")
    flushed: list[int] = []
    monkeypatch.setattr(made[0], "force_flush", lambda millis: not flushed.append(millis))
    assert telemetry.flush(1.5)
    assert flushed == [1500]


def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    entered, done = threading.Event(), threading.Event()

    def make() -> None:
        entered.set()
        done.wait()

    early.stand_in(make)
    tracer = trace.get_tracer("library")
    maker = threading.Thread(target=span, args=(tracer, "first"))
    maker.start()
    entered.wait()
    early._after_fork()  # as in the child
    span(tracer, "second")
    done.set()
    maker.join()
