"""First-seen values: the captured state of a task that its own code changes."""

from __future__ import annotations

from typing import Any


class FirstSeen:
    """First-seen tokens of the variables that a function itself changes.

    A task that appends to a list in its closure keeps its identity. Values that cannot be hashed
    get a token of their own, which is valid in this process only.

    Attributes:
        local: The variables with such a token: by name, the reason.
    """

    __slots__ = ("_tokens", "local")

    def __init__(self) -> None:
        self.local: dict[str, str] = {}
        self._tokens: dict[tuple[int, str], tuple[Any, bytes]] = {}

    def get(self, thing: object, attribute: str = "") -> bytes | None:
        """Return the token of an object or of one of its attributes; None if not seen yet."""
        found = self._tokens.get((id(thing), attribute))
        return None if found is None else found[1]

    def keep(self, thing: object, token: bytes, attribute: str = "") -> bytes:
        """Store the token of an object; if another thread was faster, return its token."""
        # The reference keeps the object alive, so that its id is not reused.
        return self._tokens.setdefault((id(thing), attribute), (thing, token))[1]

    def name_locally(self, variable: str, thing: object, why: str, attribute: str = "") -> bytes:
        """Return a token for an object that is valid in this process only."""
        from uuid import uuid4  # noqa: PLC0415 - startup time

        self.local.setdefault(variable, why)
        return self.keep(thing, b"local:" + uuid4().hex.encode(), attribute)

    def __reduce__(self) -> tuple[Any, ...]:
        return FirstSeen, ()  # another process collects its own
