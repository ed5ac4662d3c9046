"""Hashes for cache keys."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowspan.cache_policies import hash_objects as hash_strictly
from flowspan.exceptions import HashError
from flowspan.prefect_names import refusing

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["file_hash", "hash_objects"]


def hash_objects(*args: Any, raise_on_failure: bool = False, **kwargs: Any) -> str | None:
    """Return a hash of values that is the same in every process; None if one is unhashable.

    Args:
        *args: The values.
        raise_on_failure: True to raise an error for an unhashable value.
        **kwargs: Values by name.

    Raises:
        HashError: A value is unhashable, with raise_on_failure.
    """
    try:
        return hash_strictly(args, kwargs)
    except HashError:
        if raise_on_failure:
            raise
        return None


def file_hash(path: str | Path, hash_algo: Callable[..., Any] = hashlib.md5) -> str:
    """Return a hash of the content of a file.

    Args:
        path: The file.
        hash_algo: A hash function of hashlib.

    Raises:
        OSError: The file cannot be read.
    """
    return str(hash_algo(Path(path).read_bytes()).hexdigest())


__getattr__ = refusing(__name__)
