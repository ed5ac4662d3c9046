"""The one place that prints, where all text is cleaned (`safe_text`).

While a command runs, `sys.stdout` and `sys.stderr` are CleanStreams: whatever is written there, by
`Session.print`, a forgotten `print` or a library, loses its control characters. Colours are
flowspan's own: only a CleanConsole writes past the streams, after it has cleaned what it shows.
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

# Wide enough for every line: output that no terminal shows is never cut or wrapped.
_UNLIMITED_WIDTH = 100_000


class CleanStream(io.TextIOBase):
    """A text stream that cleans what is written to it.

    It has no `buffer`: bytes would not be cleaned.

    Attributes:
        raw: The stream that it writes to.
    """

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    @property
    def encoding(self) -> Any:  # type: ignore[override] # a constant elsewhere
        """That of the stream; None where it has none."""
        return self.raw.encoding

    def write(self, text: str) -> int:
        """Write the text, cleaned. Returns its length as it was: all of it was taken."""
        self.raw.write(clean(text))
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        self.raw.flush()

    def isatty(self) -> bool:
        """True if the stream is a terminal."""
        return bool(self.raw.isatty())

    def fileno(self) -> int:
        """Return the stream's file descriptor."""
        return int(self.raw.fileno())

    def writable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Leave the stream open: it belongs to the process."""


class CleanConsole(Console):
    """A console that prints text as it is, without control characters, markup or emoji codes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Clean every piece of text that is rendered; colours and cursor moves are segments' own.

        A piece is a line or a part of one, but for the newlines between them.
        """
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(clean(segment.text), segment.style)


def make_console(*, stderr: bool = False) -> CleanConsole:
    """Return a console for the standard output or error, never wrapping where no terminal is."""
    stream: Any = sys.stderr if stderr else sys.stdout
    file = stream.raw if isinstance(stream, CleanStream) else stream
    console = CleanConsole(file=file)
    return console if console.is_terminal else CleanConsole(file=file, width=_UNLIMITED_WIDTH)


@contextlib.contextmanager
def cleaned() -> Iterator[None]:
    """Clean what the block writes to `sys.stdout` and `sys.stderr`."""
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
    """Give the block the streams themselves, for what is flowspan's own: the help."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        stream.raw if isinstance(stream, CleanStream) else stream for stream in before
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
