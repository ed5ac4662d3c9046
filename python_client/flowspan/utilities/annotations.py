"""Wrappers that control the handling of an argument."""

from __future__ import annotations

from flowspan.core.values.annotations import NotSet, allow_failure, opaque, quote, unmapped
from flowspan.prefect_names import refusing

__all__ = ["NotSet", "allow_failure", "opaque", "quote", "unmapped"]

__getattr__ = refusing(__name__)
