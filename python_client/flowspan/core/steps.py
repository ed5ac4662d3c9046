"""What the engine asks its drivers to do, besides calling the function and waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Do:
    """A call that the driver makes for the engine; what it returns or raises is sent back.

    Attributes:
        fn: What to call.
        args: Its positional arguments.
        is_user_code: Whether it is the user's and quick (a hook): it is called in the thread, or
            on the loop, in which the function runs, and may give a coroutine, which is awaited.
            Else it may block (reading and writing results): a loop hands it to a thread.
    """

    __slots__ = ("args", "fn", "is_user_code")

    def __init__(
        self, fn: Callable[..., Any], args: tuple[Any, ...] = (), *, is_user_code: bool
    ) -> None:
        self.fn = fn
        self.args = args
        self.is_user_code = is_user_code
