"""The export queue never blocks, loses nothing deliverable, and warns once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from flowspan.telemetry import export_queue
from flowspan.telemetry.endpoint import SendError
from flowspan.telemetry.export_queue import ExportQueue, QueueLimits, queue_limits_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WAIT_S = 30.0


class Lines:
    """An encoder of texts without line breaks."""

    def __init__(self) -> None:
        self.refusal = (0, "")

    def request(self, items: Sequence[str]) -> bytes:
        return "\n".join(items).encode()

    def refused(self, response: bytes) -> tuple[int, str]:
        return self.refusal


class FakeTransport:
    """Records the texts; raises the configured failures."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.failures: list[Exception] = []
        self.gate: threading.Event | None = None
        self.tried = threading.Semaphore(0)
        self.resets = 0
        self.closed = threading.Event()

    def send(self, body: bytes, timeout_s: float) -> bytes:
        self.tried.release()
        if self.gate is not None:
            self.gate.wait(WAIT_S)
        if self.failures:
            raise self.failures.pop(0)
        self.requests.append(body.decode().split("\n"))
        return b"answer"

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.closed.set()

    @property
    def texts(self) -> list[str]:
        return [text for request in self.requests for text in request]


Make = Callable[..., "tuple[ExportQueue[str], FakeTransport]"]


@pytest.fixture
def encoder() -> Lines:
    return Lines()


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, encoder: Lines) -> Iterator[Make]:
    monkeypatch.setattr(export_queue, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(export_queue, "GATHER_S", 3600)
    made = []

    def build(**limits: float) -> tuple[ExportQueue[str], FakeTransport]:
        transport = FakeTransport()
        queue = ExportQueue(
            transport,
            encoder,
            what="test lines",
            place="nowhere",
            limits=QueueLimits(**{"delay_s": 0.001, **limits}),  # type: ignore[arg-type] # numbers
        )
        made.append((queue, transport))
        return queue, transport

    yield build
    for queue, transport in made:
        if transport.gate is not None:
            transport.gate.set()
        queue.shutdown()


def put(queue: ExportQueue[str], *texts: str) -> None:
    for text in texts:
        queue.put(text, len(text))


def test_items_arrive_in_order_and_together(make: Make) -> None:
    queue, transport = make(delay_s=3600)
    put(queue, "a", "b", "c")
    assert queue.flush(WAIT_S)
    assert transport.requests == [["a", "b", "c"]]


def test_a_flush_without_items_returns_at_once(make: Make) -> None:
    queue, transport = make()
    assert queue.flush(0)
    assert transport.requests == []


def test_requests_are_bounded_by_number_and_size(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, transport = make(delay_s=3600, batch_items=2)
    put(queue, "a", "b", "c")
    assert queue.flush(WAIT_S)
    assert [len(request) for request in transport.requests] == [2, 1]
    monkeypatch.setattr(export_queue, "MAX_REQUEST_BYTES", 5)
    put(queue, "1234567", "12", "345", "6")
    assert queue.flush(WAIT_S)
    assert transport.requests[2:] == [["1234567"], ["12", "345"], ["6"]]


def test_a_retryable_failure_is_retried_and_logged_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    queue, transport = make()
    transport.failures = [SendError("away", retryable=True)] * 3
    put(queue, "a")
    assert queue.flush(WAIT_S)
    assert transport.texts == ["a"]
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "Test lines cannot be delivered to nowhere: away" in caplog.text


@pytest.mark.parametrize(
    "failure", [SendError("refused", retryable=False), RuntimeError("bug")], ids=["final", "bug"]
)
def test_a_final_failure_drops_the_request(
    make: Make, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    queue, transport = make()
    transport.failures = [failure]
    put(queue, "a")
    assert queue.flush(WAIT_S)
    put(queue, "b")
    assert queue.flush(WAIT_S)
    assert transport.texts == ["b"]
    with caplog.at_level(logging.INFO, "flowspan.telemetry"):
        queue.shutdown()
    assert "1 test lines were not delivered" in caplog.text


def test_a_full_queue_drops_and_never_blocks(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queue, transport = make(queue_items=3)
    transport.gate = threading.Event()
    put(queue, "sent")
    queue._hurry.set()
    assert transport.tried.acquire(timeout=WAIT_S)
    put(queue, "1", "2", "3", "dropped")
    transport.gate.set()
    assert queue.flush(WAIT_S)
    assert transport.texts == ["sent", "1", "2", "3"]
    monkeypatch.setattr(export_queue, "_MAX_QUEUE_BYTES", 10)
    queue._limits = queue._limits._replace(delay_s=3600)
    put(queue, "large enough", "dropped too")
    assert queue.flush(WAIT_S)
    assert transport.texts[4:] == ["large enough"]
    with caplog.at_level(logging.INFO, "flowspan.telemetry"):
        queue.shutdown()
    assert "2 test lines were not delivered" in caplog.text


def test_refused_items_are_counted(
    make: Make, encoder: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    queue, _ = make()
    encoder.refusal = (2, "too old")
    put(queue, "a", "b", "c")
    assert queue.flush(WAIT_S)
    assert "2 test lines were refused: too old" in caplog.text


def test_what_cannot_be_encoded_is_dropped(
    make: Make, encoder: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, transport = make()
    monkeypatch.setattr(encoder, "request", None)
    put(queue, "a")
    assert queue.flush(WAIT_S)
    monkeypatch.undo()
    put(queue, "b")
    assert queue.flush(WAIT_S)
    assert transport.texts == ["b"]


def test_a_failure_at_the_end_is_not_retried(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queue, transport = make(delay_s=3600)
    transport.failures = [SendError("away", retryable=True)] * 100
    put(queue, "a", "b")
    with caplog.at_level(logging.INFO, "flowspan.telemetry"):
        queue.shutdown()
    assert "2 test lines were not delivered to nowhere" in caplog.text
    put(queue, "later")
    assert transport.texts == []


def test_without_a_thread_the_end_sends_in_its_own(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    queue, transport = make()
    monkeypatch.setattr(threading.Thread, "start", start)
    put(queue, "a", "b")
    queue.shutdown()
    assert transport.texts == ["a", "b"]


def test_closing_sends_the_rest_and_ends_the_thread(make: Make) -> None:
    queue, transport = make(delay_s=3600)
    put(queue, "a")
    queue.close()
    assert transport.closed.wait(WAIT_S)
    assert transport.texts == ["a"]


def test_a_forked_child_starts_with_an_empty_queue(make: Make) -> None:
    queue, transport = make(delay_s=3600)
    put(queue, "of the parent")
    queue.after_fork()
    put(queue, "of the child")
    assert queue.flush(WAIT_S)
    assert "of the child" in transport.texts
    assert transport.resets == 1


def test_limits_follow_the_variables() -> None:
    environ = {
        "OTEL_BLRP_SCHEDULE_DELAY": "500",
        "OTEL_BLRP_MAX_QUEUE_SIZE": "10",
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "no",
    }
    assert queue_limits_of(environ, 3.0) == QueueLimits(0.5, 10, QueueLimits().batch_items, 3.0)
