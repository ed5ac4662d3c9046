"""Options of the gRPC server: message sizes, concurrent calls and keepalive."""

from __future__ import annotations

from flowspan_service.api import limits

_KEEPALIVE_MS = 10_000


def server_options(lease_us: int) -> list[tuple[str, int]]:
    """Return the options of the server.

    Pings detect dead peers, but not before a stopped process would lose its lease: until then, it
    may continue where it was.

    Args:
        lease_us: The lease of sessions, in microseconds.
    """
    timeout_ms = max(limits.MIN_PING_TIMEOUT_MS, lease_us // 1000 + 5_000)
    return [
        ("grpc.max_receive_message_length", limits.MAX_MESSAGE),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", limits.MAX_CALLS_OF_A_CONNECTION),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ]
