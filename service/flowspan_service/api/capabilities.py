"""What this service can do that others may not; docs/protocol.md says what each name means."""

from __future__ import annotations

CAPABILITIES = ("artifacts.v1", "session_secrets.v1", "variables.v1")
