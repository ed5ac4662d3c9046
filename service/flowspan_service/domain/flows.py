"""Flows: the decorated functions, as opposed to their runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID, uuid5

FLOW_NAMESPACE = UUID("6f3b7d62-2f7b-5a0e-9d5c-0c9a1f5b7a10")
"""The namespace of flow ids. Part of the contract: clients of any language derive the same ids."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow, as opposed to its runs; see flowspan.v1.Flow."""

    id: str
    name: str
    created_us: int
    last_run_us: int


@lru_cache(maxsize=4096)
def flow_id(name: str) -> str:
    """Return the id of a flow: the UUIDv5 of its name in `FLOW_NAMESPACE` (RFC 9562, 5.5)."""
    return str(uuid5(FLOW_NAMESPACE, name))
