"""Variables: named values that flows and people share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowspan_service.domain.payloads import Payload


@dataclass(frozen=True, slots=True)
class Variable:
    """A named value; see flowspan.v1.Variable."""

    name: str
    value: Payload
    tags: tuple[str, ...]
    created_us: int
    updated_us: int
