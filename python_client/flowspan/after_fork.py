"""Objects that renew themselves in forked children.

A function that is registered with `os.register_at_fork` stays for the life of the process. Objects
registered here are forgotten when nothing else refers to them.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """An object that owns locks, threads or connections, which a forked child must not share."""

    def after_fork(self) -> None:
        """Renew what belongs to the parent. Called in the child, before any other code."""
        ...


_objects: WeakSet[Forkable] = WeakSet()


def renew_after_fork(owner: Forkable) -> None:
    """Call the `after_fork` of an object in each forked child, as long as the object lives."""
    _objects.add(owner)


def _renew_all() -> None:
    for owner in list(_objects):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
