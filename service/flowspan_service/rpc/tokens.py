"""Page tokens and resume tokens: opaque to callers, bound to the query they belong to."""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b

from flowspan_service.domain.errors import BadTokenError
from flowspan_service.rpc import limits

_CHECK_BYTES = 8


def seal(place: str, *, query: bytes) -> str:
    """A token for a place in the answer to a query.

    Args:
        place: Where to go on.
        query: What the token is bound to: the kind of the token and all that selects and orders.
    """
    data = place.encode()
    return base64.urlsafe_b64encode(_check(data, query) + data).decode().rstrip("=")


def unseal(token: str, *, query: bytes, field: str) -> str:
    """The place that a token stands for.

    Raises:
        BadTokenError: The token was not made here, or belongs to another query.
    """
    if len(token) <= limits.TOKEN:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            check, data = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
            if check == _check(data, query):
                return data.decode()
        except (binascii.Error, ValueError):
            pass
    raise BadTokenError(
        f"{field}: the token was not made by this service, or belongs to another query",
        advice="Use a token as it was given, with the same query, or begin without one.",
        field=field,
    )


def _check(data: bytes, query: bytes) -> bytes:
    digest = blake2b(data, digest_size=_CHECK_BYTES, person=b"flowspan token")
    digest.update(b"\0")
    digest.update(query)
    return digest.digest()
