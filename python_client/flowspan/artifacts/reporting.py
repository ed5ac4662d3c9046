"""Checks artifacts and reports them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flowspan.core.call_graph import current_or_sketched_run
from flowspan.core.events import ARTIFACT, ARTIFACT_CHANGE
from flowspan.core.run import current_run, is_outermost
from flowspan.core.values.payloads import encode_value
from flowspan.drivers.process import process_of
from flowspan.reporter.encoding.protobuf import utf8

if TYPE_CHECKING:
    from collections.abc import Generator

MAX_KEY_CHARACTERS = 256
MAX_TYPE_BYTES = 64
MAX_DESCRIPTION_BYTES = 32 << 10
MAX_DATA_BYTES = 1 << 20
"""The limits of proto/flowspan/v1/artifact.proto."""

_is_key = re.compile(r"[a-z0-9-]+").fullmatch


class ArtifactId(UUID):
    """The id of an artifact: a UUID that may be awaited, and then gives itself.

    In coroutines, Prefect's functions give something to await. So calls that are written for that
    go on working, though nothing is waited for.
    """

    __slots__ = ()

    def __await__(self) -> Generator[None, None, ArtifactId]:
        yield from ()
        return self


def report_new(kind: str, key: str | None, description: str | None, data: Any) -> ArtifactId:
    """Reports an artifact as made here and now, by the current run if there is one.

    Raises:
        TypeError: The data is nothing that JSON can hold.
        ValueError: The key has other characters than it may have, or something is too large.
    """
    check_key(key)
    kind = _readable(kind)
    if not kind or len(kind.encode()) > MAX_TYPE_BYTES:
        msg = f"an artifact's type is a short name such as 'table', not {kind[:80]!r}"
        raise ValueError(msg)
    text = _description(description)
    encoded = _encoded(data)
    run = current_run.get()
    process = process_of(run)
    artifact_id = process.new_id()
    now_ns = process.now_ns()
    run_id = run.record.id if run is not None else ""
    process.emit((ARTIFACT, artifact_id, run_id, key or "", kind, text or "", encoded, now_ns))
    if run is not None and run.span is not None:
        run.span.made_artifact(artifact_id, kind, key or "", now_ns)
    return ArtifactId(artifact_id)


def report_change(artifact_id: UUID | str, description: str | None, data: Any) -> ArtifactId:
    """Reports that an artifact was changed; None leaves what it stands for as it is.

    Raises:
        TypeError, ValueError: As for `report_new`; or the id is none.
    """
    changed = ArtifactId(str(artifact_id))
    text = _description(description)
    encoded = None if data is None else _encoded(data)
    process = process_of(current_run.get())
    process.emit((ARTIFACT_CHANGE, str(changed), text, encoded, process.now_ns()))
    return changed


def is_in_run() -> bool:
    """True if a run of this process is going on: what is reported here is stored at its end."""
    return not is_outermost(current_or_sketched_run())


def can_be_key(key: str) -> bool:
    """Return True if an artifact may have this key."""
    return _is_key(key) is not None and len(key) <= MAX_KEY_CHARACTERS


def check_key(key: str | None) -> None:
    """A key, or None.

    Raises:
        ValueError: It has other characters than it may have, none, or too many.
    """
    if key is not None and not can_be_key(key):
        msg = (
            f"{key[:80]!r} cannot be the key of an artifact: it is to have lower-case letters, "
            f"digits and dashes only, and at most {MAX_KEY_CHARACTERS} of them"
        )
        raise ValueError(msg)


def _description(description: str | None) -> str | None:
    if description is None:
        return None
    text = _readable(description)
    size = len(text.encode())
    if size > MAX_DESCRIPTION_BYTES:
        msg = (
            f"the description of an artifact may have {MAX_DESCRIPTION_BYTES} bytes, and this one "
            f"has {size}; a long text is a Markdown artifact"
        )
        raise ValueError(msg)
    return text


def _readable(text: str) -> str:
    """The text as it arrives: what the service takes none of (lone surrogates, NULs), replaced."""
    return utf8(text).decode()


def _encoded(data: Any) -> bytes:
    encoded = encode_value(data)
    if len(encoded) > MAX_DATA_BYTES:
        msg = (
            f"an artifact may show {MAX_DATA_BYTES >> 20} MiB, and this one has {len(encoded)} "
            "bytes of JSON; store it in a file and make a link to that"
        )
        raise ValueError(msg)
    return encoded
