"""Flows: the decorated functions, as opposed to their runs."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID, uuid5

FLOW_NAMESPACE = UUID("6f3b7d62-2f7b-5a0e-9d5c-0c9a1f5b7a10")
"""The namespace of flow ids. Part of the contract: clients of any language derive the same ids."""


@lru_cache(maxsize=4096)
def flow_id(name: str) -> str:
    """The id of a flow: the UUID, version 5, of its name in `FLOW_NAMESPACE` (RFC 9562, 5.5)."""
    return str(uuid5(FLOW_NAMESPACE, name))
