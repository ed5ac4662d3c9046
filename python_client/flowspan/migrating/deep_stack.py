"""Calls that recurse deeply."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

# Long chains of calls and operators, as generated code has them, nest as deeply as they are long.
_STACK_BYTES = 512 * 1024**2
_RECURSION_LIMIT = 10_000


def with_deep_stack(call: Callable[[], _T]) -> _T:
    """Return what a call returns that recurses deeply: it runs in a thread with a large stack.

    Args:
        call: The function.

    Raises:
        BaseException: What it raised.
    """
    outcome: Future[_T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - the caller's
            outcome.set_exception(error)

    limit, size = sys.getrecursionlimit(), threading.stack_size(_STACK_BYTES)
    sys.setrecursionlimit(_RECURSION_LIMIT)
    try:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join()
        return outcome.result()
    finally:
        sys.setrecursionlimit(limit)
        threading.stack_size(size)
