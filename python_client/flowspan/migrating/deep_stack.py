"""Calls with deep recursion."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

# The syntax tree of a long chain of calls or operators, as in generated code, is equally deep.
_STACK_BYTES = 512 * 1024**2
_RECURSION_LIMIT = 10_000


def with_deep_stack(call: Callable[[], _T]) -> _T:
    """Run a deeply recursive call in a thread with a large stack, and return its result.

    Args:
        call: The function.

    Raises:
        BaseException: The exception of the call.
    """
    outcome: Future[_T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
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
