"""The port to flows. Creations of flow runs write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.domain.flows import Flow


class FlowReads(Protocol):
    """The reads of flows."""

    def get(self, *, flow_id: str | None = None, name: str | None = None) -> Flow | None:
        """Return a flow by its id or its name."""
        ...

    def list(self, *, after_name: str | None, limit: int) -> Sequence[Flow]:
        """Return flows by name, after a name."""
        ...
