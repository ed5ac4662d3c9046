"""Ids of objects that API calls create."""

from __future__ import annotations

import random
import threading
from uuid import UUID

from flowspan import clock
from flowspan.core.ids import IdMaker

new_id = IdMaker(clock.now_ns, random.SystemRandom().getrandbits, threading.Lock())
"""Generator of UUIDv7 ids as text."""


def new_uuid() -> UUID:
    """Return a new UUIDv7."""
    return UUID(new_id())
