"""Payloads: values of users, opaque to the service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Payload:
    """A value of a user: bytes and their encoding. The service never decodes it."""

    encoding: str
    data: bytes
