"""The steps that the engine yields: what its driver must do before it can continue.

A new step needs one class here and one performer for each kind of driver: an entry in
`flowspan.drivers.perform` and one in `flowspan.drivers.perform_async`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    T = TypeVar("T")
    Steps: TypeAlias = Generator["Step", Any, T]
    """A generator that yields steps, is sent their outcomes, and returns a T."""


class Step:
    """Base class of all steps. The driver sends back what a step returned, or throws its error."""

    __slots__ = ()


class RunFunction(Step):
    """One attempt: call the function of the run. Drivers compare with `RUN_FUNCTION`."""

    __slots__ = ()


RUN_FUNCTION = RunFunction()
"""The only instance, so that an ordinary task costs its driver one identity comparison."""


class Sleep(Step):
    """A wait that ends early, with an error, if the run is cancelled.

    Attributes:
        seconds: The length of the wait.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Call(Step):
    """Base class of steps that call a function.

    Attributes:
        fn: The function.
        args: Its positional arguments.
    """

    __slots__ = ("args", "fn")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...] = ()) -> None:
        self.fn = fn
        self.args = args


class CallUser(Call):
    """A call of short user code (a hook, a retry condition), in the thread or loop of the function.

    It may return a coroutine, which is awaited.
    """

    __slots__ = ()


class CallBlocking(Call):
    """A call that may block (reading and writing results). A loop hands it to a thread."""

    __slots__ = ()
