"""Closure variables of tasks, as the identity of a task counts them."""

from __future__ import annotations

from typing import Any


class FirstSeen:
    """First-seen values of the variables that a function changes itself.

    A task that appends to a list that it closes over is the same task after that. Also gives what
    cannot be hashed a name of its own, for the time of this process.

    Attributes:
        local: What was given such a name: by the name of the variable, why.
    """

    __slots__ = ("_tokens", "local")

    def __init__(self) -> None:
        self.local: dict[str, str] = {}
        self._tokens: dict[tuple[int, str], tuple[Any, bytes]] = {}

    def get(self, thing: object, attribute: str = "") -> bytes | None:
        """Return what stands for an object, or for one of its attributes; None if not yet seen."""
        found = self._tokens.get((id(thing), attribute))
        return None if found is None else found[1]

    def keep(self, thing: object, token: bytes, attribute: str = "") -> bytes:
        """Remember what stands for an object; return what another thread remembered before."""
        # The object is held, so that no other gets its identity.
        return self._tokens.setdefault((id(thing), attribute), (thing, token))[1]

    def name_locally(self, variable: str, thing: object, why: str, attribute: str = "") -> bytes:
        """Return a name for an object that holds in this process only."""
        from uuid import uuid4  # noqa: PLC0415 - start-up cost

        self.local.setdefault(variable, why)
        return self.keep(thing, b"local:" + uuid4().hex.encode(), attribute)

    def __reduce__(self) -> tuple[Any, ...]:
        return FirstSeen, ()  # another process sees for itself
