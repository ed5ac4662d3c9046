"""The examples of docs/protocol.md work as shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import json_format
from tests.support.run_queries import flow_history
from tests.support.version_skew import request_class

from flowspan.v1 import report_service_pb2, report_service_pb2_grpc

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text()


def test_batch_by_hand(service: ServiceProcess) -> None:
    found = re.search(
        r"-d '(\{\n.*?\})' \S+ flowspan.v1.ReportService/ReportBatch", PAGE, re.DOTALL
    )
    assert found
    request = json_format.Parse(found[1], report_service_pb2.ReportBatchRequest())
    stub = report_service_pb2_grpc.ReportServiceStub(service.channel)
    answer = stub.ReportBatch(request)
    assert answer.ack.up_to_sequence == len(request.batch.events)
    assert answer.lease == request.hello.lease
    run_id = request.batch.events[0].run_created.run_id
    assert flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]


def test_methods_that_it_calls_exist() -> None:
    called = re.findall(r"127\.0\.0\.1:4600 (flowspan\.v1\.\w+/\w+)", PAGE)
    assert called
    assert all(request_class(f"/{method}") for method in called)
