"""The rule where the logs of a session go."""

from __future__ import annotations

import pytest

from flowspan_service.domain.log_receivers import LogReceiver, LogReceivers
from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP, OtlpTarget

OWN = LogReceiver(OTLP_GRPC, "http://own:4317", is_own=True)
NAMED = OtlpTarget(OTLP_HTTP, "", "http://client:4318/v1/logs")


@pytest.mark.parametrize(
    ("own", "allows_clients", "target", "expected"),
    [
        (None, False, None, None),
        (None, False, NAMED, None),
        (None, True, None, None),
        (None, True, NAMED, LogReceiver(OTLP_HTTP, NAMED.logs_url)),
        (OWN, False, None, OWN),
        (OWN, False, NAMED, OWN),
        (OWN, True, NAMED, LogReceiver(OTLP_HTTP, NAMED.logs_url)),
        (OWN, True, OtlpTarget(OTLP_GRPC, "http://spans:1", ""), OWN),
        (OWN, True, OtlpTarget(OTLP_GRPC, "", "http://own:4317"), OWN),
        (
            OWN,
            True,
            OtlpTarget(OTLP_HTTP, "", "http://own:4317"),
            LogReceiver(OTLP_HTTP, "http://own:4317"),
        ),
        (
            OWN,
            True,
            OtlpTarget(OTLP_GRPC, "", "https://own:4317"),
            LogReceiver(OTLP_GRPC, "https://own:4317"),
        ),
        (
            OWN,
            True,
            OtlpTarget(OTLP_GRPC, "", "http://own:no"),
            LogReceiver(OTLP_GRPC, "http://own:no"),
        ),
    ],
)
def test_where_logs_go(
    own: LogReceiver | None,
    allows_clients: bool,
    target: OtlpTarget | None,
    expected: LogReceiver | None,
) -> None:
    assert LogReceivers(own, allows_clients=allows_clients).of(target) == expected


def test_the_own_receiver_is_known_by_its_place() -> None:
    own = LogReceiver(OTLP_HTTP, "http://own/v1/logs", is_own=True)
    found = LogReceivers(own, allows_clients=True).of(
        OtlpTarget(OTLP_HTTP, "", "http://own:80/other")
    )
    assert found is own


def test_whether_any_logs_are_exported() -> None:
    assert not LogReceivers().are_any
    assert LogReceivers(OWN).are_any
    assert LogReceivers(allows_clients=True).are_any
