"""A call as a servicer sees it, whichever transport carries it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowspan_service.domain.tokens import ANYONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan_service.domain.tokens import Principal


@dataclass(slots=True)
class Call:
    """The facts of one call, besides its request.

    Attributes:
        metadata: The headers of the call, by lower-case name; the last value of each.
        peer: The address of the caller, in the notation of the transport; empty if unknown.
        timeout_s: The time that the caller allowed at the start of the call; None for no deadline.
            The transport cancels the handler when it is over, or when the caller cancels.
        principal: The author of the call. Set by the dispatcher before the handler is called.
    """

    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    peer: str = ""
    timeout_s: float | None = None
    principal: Principal = ANYONE

    @property
    def host(self) -> str:
        """The address of the caller without the port."""
        return self.peer.rpartition(":")[0]
