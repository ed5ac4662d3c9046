"""Output streams that strip control characters from everything printed (`safe_text`).

While a command runs, `sys.stdout` and `sys.stderr` are CleanStreams. Anything written to them,
by `Session.print`, a stray `print` or a library, loses its control characters. Only flowspan's
own colours pass: a CleanConsole bypasses the streams after cleaning its text.
"""

from __future__ import annotations

import contextlib
import io
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.segment import Segment

from flowspan.cli.safe_text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import ConsoleOptions, RenderableType

# Wide enough for every line, so that output to a pipe or file is never cut or wrapped.
_UNLIMITED_WIDTH = 100_000


class CleanStream(io.TextIOBase):
    """A text stream that removes control characters from what is written.

    It has no `buffer`, because bytes would bypass the cleaning.

    Attributes:
        raw: The underlying stream.
    """

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    @property
    def encoding(self) -> Any:  # type: ignore[override] # a plain attribute in io
        """The encoding of the underlying stream; None if it has none."""
        return self.raw.encoding

    def write(self, text: str) -> int:
        """Write the cleaned text. Return the length of the original text."""
        self.raw.write(clean(text))
        return len(text)

    def flush(self) -> None:
        """Flush the underlying stream."""
        self.raw.flush()

    def isatty(self) -> bool:
        """Return True if the stream is a terminal."""
        return bool(self.raw.isatty())

    def fileno(self) -> int:
        """Return the stream's file descriptor."""
        return int(self.raw.fileno())

    def writable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Do nothing: the stream belongs to the process."""


class CleanConsole(Console):
    """A console that prints literal text, without control characters, markup or emoji codes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render with every text segment cleaned. Colours and cursor moves are separate segments.

        A segment is a line or a part of one, or the newlines between lines.
        """
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(clean(segment.text), segment.style)


def make_console(*, stderr: bool = False) -> CleanConsole:
    """Return a console for standard output or error. It does not wrap unless it is a terminal."""
    stream: Any = sys.stderr if stderr else sys.stdout
    file = stream.raw if isinstance(stream, CleanStream) else stream
    console = CleanConsole(file=file)
    return console if console.is_terminal else CleanConsole(file=file, width=_UNLIMITED_WIDTH)


@contextlib.contextmanager
def cleaned() -> Iterator[None]:
    """Clean everything that the block writes to `sys.stdout` and `sys.stderr`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        stream if isinstance(stream, CleanStream) else CleanStream(stream) for stream in before
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def uncleaned() -> Iterator[None]:
    """Restore the raw streams for the block, which prints only flowspan's own text (the help)."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        stream.raw if isinstance(stream, CleanStream) else stream for stream in before
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
