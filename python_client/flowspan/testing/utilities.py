"""Prefect's name for the harness: `from flowspan.testing.utilities import prefect_test_harness`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.prefect_names import refusing
from flowspan.testing.harness import Harness, flowspan_test_harness

if TYPE_CHECKING:
    from flowspan.testing.blocks import Block

__all__ = ["prefect_test_harness"]


def prefect_test_harness(server_startup_timeout: int | None = 30) -> Block[Harness]:
    """Give a block a service of its own; `flowspan_test_harness`, with the delays of retries.

    Args:
        server_startup_timeout: Is taken and not used: the service starts at once.

    Raises:
        FlowspanError: It is called in a flow or task, whose runs belong to another service.
        LocalServiceError: The service did not start.
    """
    return flowspan_test_harness(skip_retry_delays=False)


__getattr__ = refusing(__name__)
