"""References to results: what a state says of where its result is.

On the wire they are a flowspan.v1.Payload of the encoding below, whose data is a JSON object with
the entries "url", "key" and "serializer" (a short name).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowspan.core.failures import reason_of
from flowspan.core.result_options import REFERENCE_ENCODING
from flowspan.exceptions import MissingResult, ResultUnreadable, UntrustedResult
from flowspan.results.record import unpack
from flowspan.results.trusted_storages import read_trusted
from flowspan.serializers import described_name

if TYPE_CHECKING:
    from flowspan.results.trusted_storages import Trust

__all__ = ["REFERENCE_ENCODING", "load_reference", "read_reference"]

_PLAIN = ("json", "compressed/json")


def read_reference(data: bytes) -> dict[str, str]:
    """The entries of a reference.

    Raises:
        ResultUnreadable: It is no reference.
    """
    try:
        found = json.loads(data)
        return {name: str(found[name]) for name in ("url", "key", "serializer")}
    except (ValueError, KeyError, TypeError) as error:
        raise ResultUnreadable(f"That is no reference to a result ({error}).") from None


def load_reference(data: bytes, *, trust: Trust = False) -> Any:
    """The result that a reference leads to.

    Args:
        data: The reference's bytes.
        trust: What is trusted beside the storages of this program; see `results.trusted_storages`.

    Raises:
        UntrustedResult: It leads elsewhere, or to something else than it says.
        MissingResult: There is nothing any more where it leads, as seen from here.
        ResultUnreadable: What is there cannot be read.
    """
    reference = read_reference(data)
    url, named = reference["url"], reference["serializer"]
    try:
        content = read_trusted(url, trust=trust)
    except OSError as error:
        raise ResultUnreadable(
            f"The result at {url} cannot be read: {reason_of(error)}."
        ) from error
    if content is None:
        raise MissingResult(f"There is no result at {url}, as seen from this machine.")
    try:
        record = unpack(content)
    except ResultUnreadable as error:
        raise ResultUnreadable(f"The result at {url}: {error}") from None
    written = described_name(record.serializer)
    if trust is not True and written not in {named, *_PLAIN}:
        raise UntrustedResult(
            f"The state says that its result is written as {named!r:.200}, but at {url} is one "
            f"written as {written!r:.200}. If that is right, pass trust=True."
        )
    return record.load()
