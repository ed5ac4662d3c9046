"""Publishing the service of a home."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from flowspan_service.process.published_address import FILE_NAME, publish, read, unpublish

if TYPE_CHECKING:
    from pathlib import Path


def publish_here(home: Path) -> None:
    publish(
        home,
        version="1",
        addresses=["unix:/x", "127.0.0.1:4600"],
        is_embedded=True,
        otlp_endpoint="",
        trace_url="http://x/{trace_id}",
        otlp_target={"protocol": "grpc", "traces_url": "http://h:1", "logs_url": ""},
        started_at="2026-01-01T00:00:00+00:00",
        http_address="http://127.0.0.1:4680",
        is_over_tls=False,
    )


def test_file_says_where_and_who(tmp_path: Path) -> None:
    publish_here(tmp_path)
    assert json.loads((tmp_path / "service.json").read_text()) == {
        "pid": os.getpid(),
        "version": "1",
        "addresses": ["unix:/x", "127.0.0.1:4600"],
        "embedded": True,
        "otlp_endpoint": "",
        "trace_url": "http://x/{trace_id}",
        "otlp_target": {"protocol": "grpc", "traces_url": "http://h:1", "logs_url": ""},
        "started_at": "2026-01-01T00:00:00+00:00",
        "http_address": "http://127.0.0.1:4680",
        "tls": False,
    }
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    unpublish(tmp_path)
    assert list(tmp_path.iterdir()) == []
    unpublish(tmp_path)


def test_another_services_file_stays(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({"pid": os.getpid() + 1}))
    unpublish(tmp_path)
    assert read(tmp_path) == {"pid": os.getpid() + 1}


def test_rubbish_is_nothing(tmp_path: Path) -> None:
    for content in ("", "{", "[1]", "\xff"):
        (tmp_path / FILE_NAME).write_text(content, encoding="latin-1")
        assert read(tmp_path) is None
