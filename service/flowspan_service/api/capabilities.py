"""The capabilities of this service; docs/protocol.md explains each name."""

from __future__ import annotations

CAPABILITIES = ("artifacts.v1", "session_secrets.v1", "variables.v1")
