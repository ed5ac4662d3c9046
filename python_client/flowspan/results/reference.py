"""References to results: the location of a run's result, as reported in its state.

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
    """Parse the entries of a reference.

    Raises:
        ResultUnreadable: The data is not a reference.
    """
    try:
        found = json.loads(data)
        return {name: str(found[name]) for name in ("url", "key", "serializer")}
    except (ValueError, KeyError, TypeError) as error:
        raise ResultUnreadable(f"The data is not a reference to a result ({error}).") from None


def load_reference(data: bytes, *, trust: Trust = False) -> Any:
    """Return the result that a reference points to.

    Args:
        data: The reference's bytes.
        trust: Trusted locations besides the storages of this program; see
            `results.trusted_storages`.

    Raises:
        UntrustedResult: It points to an untrusted location, or to a result other than it claims.
        MissingResult: There is no result at that location any more, as seen from here.
        ResultUnreadable: The file cannot be read.
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
            f"The state says that its result is written as {named!r:.200}, but the result at {url} "
            f"is written as {written!r:.200}. If that is right, pass trust=True."
        )
    return record.load()
