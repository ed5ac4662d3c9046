"""The recorder of the engine's tests."""

from __future__ import annotations

from tests.unit.client.engine.conftest import recorder

__all__ = ["recorder"]
