"""References to results: what a state says of where its result is.

On the wire they are a flowspan.v1.Payload of the encoding below, whose data is a JSON object with
the entries "url", "key" and "serializer" (a short name).
"""

from __future__ import annotations

import json
from typing import Any

from flowspan.core.keeping import REFERENCE_ENCODING
from flowspan.exceptions import MissingResult, ResultUnreadable
from flowspan.results.folders import read_url
from flowspan.results.record import unpack

__all__ = ["REFERENCE_ENCODING", "load_reference", "read_reference"]


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


def load_reference(data: bytes) -> Any:
    """The result that a reference leads to.

    Args:
        data: The reference's bytes.

    Raises:
        MissingResult: There is nothing any more where it leads, as seen from here.
        ResultUnreadable: What is there cannot be read.
    """
    url = read_reference(data)["url"]
    content = read_url(url)
    if content is None:
        raise MissingResult(f"There is no result at {url}, as seen from this machine.")
    try:
        record = unpack(content)
    except ResultUnreadable as error:
        raise ResultUnreadable(f"The result at {url}: {error}") from None
    return record.load()
