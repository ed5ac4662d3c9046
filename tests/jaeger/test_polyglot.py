"""The polyglot example in a real Jaeger: one trace over four languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conformance.languages import LANGUAGES
from tests.conformance.polyglot import SERVICE_OF, TREE, Order, build_example, runs_of_order

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.jaeger import Jaeger
    from tests.support.service import ServiceProcess

# A build of Jaeger and of the clients takes minutes and happens within the first test.
pytestmark = [pytest.mark.jaeger, pytest.mark.timeout(3600)]


def test_jaeger_shows_one_trace_over_four_languages(
    start_service: Callable[..., ServiceProcess], jaeger: Jaeger, tmp_path: Path
) -> None:
    for problem in filter(None, (language.problem for language in LANGUAGES)):
        pytest.skip(problem)
    build_example()
    service = start_service(arguments=("--otlp-endpoint", jaeger.endpoint))
    with Order(tmp_path, address=service.address) as order:
        code, _, err = order.finish()
        assert code == 0, err
    runs = runs_of_order(service.channel)
    (trace_id,) = {each.trace_id for each in runs}

    spans = jaeger.wait_for_trace(trace_id, TREE.split())

    assert {span.name: span.service_name for span in spans} == SERVICE_OF
    assert {*SERVICE_OF.values()} <= {*jaeger.get("/api/services")["data"]}
    span_of = {each.run.id: each.span_id for each in runs}
    expected = {each.span_id: span_of.get(each.run.parent_run_id, "") for each in runs}
    assert {span.span_id: span.parent_id for span in spans} == expected
    assert [span.warnings for span in spans] == [[]] * len(spans)
