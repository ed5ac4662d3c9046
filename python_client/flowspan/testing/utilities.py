"""The test harness under Prefect's name: `prefect_test_harness`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.prefect_names import refusing
from flowspan.testing.harness import Harness, flowspan_test_harness

if TYPE_CHECKING:
    from flowspan.testing.blocks import Block

__all__ = ["prefect_test_harness"]


def prefect_test_harness(server_startup_timeout: int | None = 30) -> Block[Harness]:
    """Provide a service for the block, as `flowspan_test_harness`, but with real retry delays.

    Args:
        server_startup_timeout: Ignored. Accepted for compatibility with Prefect.

    Raises:
        FlowspanError: The call is inside a flow or task, whose run belongs to another service.
        LocalServiceError: The service did not start.
    """
    return flowspan_test_harness(skip_retry_delays=False)


__getattr__ = refusing(__name__)
