"""Validation and reporting of artifacts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flowspan.core.call_graph import current_or_sketched_run
from flowspan.core.events import ARTIFACT, ARTIFACT_CHANGE
from flowspan.core.limits import (
    MAX_DESCRIPTION_BYTES,
    MAX_NAME_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_TYPE_BYTES,
)
from flowspan.core.run import current_run, is_outermost
from flowspan.core.values.payloads import encode_value
from flowspan.drivers.process import process_of
from flowspan.reporter.encoding.protobuf import utf8

if TYPE_CHECKING:
    from collections.abc import Generator

_is_key = re.compile(r"[a-z0-9-]+").fullmatch


class ArtifactId(UUID):
    """The id of an artifact: a UUID that can be awaited and then returns itself.

    In coroutines, Prefect's functions return awaitables. Awaiting the id keeps such calls
    working; it does not wait for anything.
    """

    __slots__ = ()

    @property
    def id(self) -> ArtifactId:
        """The id itself: in Prefect, `create` returns an artifact with an id."""
        return self

    def __await__(self) -> Generator[None, None, ArtifactId]:
        yield from ()
        return self


def report_new(kind: str, key: str | None, description: str | None, data: Any) -> ArtifactId:
    """Report the creation of an artifact, as part of the current run if there is one.

    Raises:
        TypeError: The data is not JSON-serializable.
        ValueError: The key has invalid characters, or something is too large.
    """
    check_key(key)
    kind = _readable(kind)
    if not kind or len(kind.encode()) > MAX_TYPE_BYTES:
        msg = f"an artifact's type must be a short name such as 'table', not {kind[:80]!r}"
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
    """Report a change of an artifact. Fields that are None are unchanged.

    Raises:
        TypeError, ValueError: As for `report_new`, or the id is invalid.
    """
    changed = ArtifactId(str(artifact_id))
    text = _description(description)
    encoded = None if data is None else _encoded(data)
    process = process_of(current_run.get())
    process.emit((ARTIFACT_CHANGE, str(changed), text, encoded, process.now_ns()))
    return changed


def is_in_run() -> bool:
    """Return True inside a run of this process, whose reports are stored at its end."""
    return not is_outermost(current_or_sketched_run())


def can_be_key(key: str) -> bool:
    """Return True if the key is valid for an artifact."""
    return _is_key(key) is not None and len(key) <= MAX_NAME_BYTES


def check_key(key: str | None) -> None:
    """Check a key; None is valid.

    Raises:
        ValueError: The key is empty, too long or has invalid characters.
    """
    if key is not None and not can_be_key(key):
        msg = (
            f"{key[:80]!r} is not a valid artifact key. Use only lower-case letters, "
            f"digits and dashes, and at most {MAX_NAME_BYTES} characters"
        )
        raise ValueError(msg)


def _description(description: str | None) -> str | None:
    if description is None:
        return None
    text = _readable(description)
    size = len(text.encode())
    if size > MAX_DESCRIPTION_BYTES:
        msg = (
            f"the description of an artifact may have at most {MAX_DESCRIPTION_BYTES} bytes, not "
            f"{size}. Create a Markdown artifact for a long text"
        )
        raise ValueError(msg)
    return text


def _readable(text: str) -> str:
    """Return the text with characters replaced that the service rejects: surrogates, NULs."""
    return utf8(text).decode()


def _encoded(data: Any) -> bytes:
    encoded = encode_value(data)
    if len(encoded) > MAX_PAYLOAD_BYTES:
        msg = (
            f"an artifact may have at most {MAX_PAYLOAD_BYTES >> 20} MiB of JSON, not "
            f"{len(encoded)} bytes. Store the data in a file and create a link to it"
        )
        raise ValueError(msg)
    return encoded
