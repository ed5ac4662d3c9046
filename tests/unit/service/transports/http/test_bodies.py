"""Compression of bodies, and its bounds."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from flowspan_service.domain.errors import InvalidFieldError
from flowspan_service.transports.http.bodies import (
    accepts_gzip,
    compressed,
    decompressed,
    is_compressed,
)
from flowspan_service.transports.http.errors import RefusedError


def test_gzip_goes_both_ways() -> None:
    data = bytes(range(256)) * 100
    assert gzip.decompress(compressed(data)) == data
    assert decompressed(compressed(data), "M", len(data)) == data
    assert compressed(data) == compressed(data)


def test_the_limit_counts_decompressed_bytes_and_memory() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError) as caught:
            decompressed(bomb, "GetFlowRun", 1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
    assert caught.value.failure.http_status == 413
    assert "GetFlowRun" in caught.value.failure.message


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", compressed(b"{}")[:-1], compressed(b"{}") + b"x", zlib.compress(b"{}")],
    ids=["empty", "plain", "cut off", "longer", "zlib"],
)
def test_what_is_not_one_gzip_member_is_malformed(data: bytes) -> None:
    with pytest.raises(InvalidFieldError):
        decompressed(data, "M", 100)


def test_names_of_compressions() -> None:
    assert is_compressed("gzip")
    assert is_compressed("GZIP")
    assert not is_compressed("")
    assert not is_compressed("identity")
    with pytest.raises(RefusedError) as caught:
        is_compressed("br")
    assert caught.value.failure.http_status == 501


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("xgzip", False),
    ],
)
def test_accepted_compressions(accepted: str, *, expected: bool) -> None:
    assert accepts_gzip(accepted) is expected
