"""Pages of lists: the place and the size that a request asks for, and the next page's token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from flowspan_service.api import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.api.fields.page_tokens import PageTokens
    from flowspan_service.app.ports.pages import Page

T = TypeVar("T")

_OLDEST_FIRST = 2
"""The number of this order in each of the protos' enums of orders."""


class Paging:
    """The page that a list request asks for.

    Args:
        tokens: Seals and unseals page tokens.
        request: A message with the fields page_token and page_size.
        query: The bytes that the tokens are bound to: the list, its filter and its order.
        default_limit: The size of the page if the request names none.

    Attributes:
        limit: The largest number of items.
    """

    def __init__(
        self,
        tokens: PageTokens,
        request: Any,
        query: bytes,
        *,
        default_limit: int = limits.PAGE_RUNS_DEFAULT,
    ) -> None:
        self._tokens = tokens
        self._token: str = request.page_token
        self._query = query
        self.limit: int = request.page_size or default_limit

    def after(self) -> str | None:
        """Return the place after which the page begins; None for the first page.

        Raises:
            BadTokenError: The token belongs to another query.
        """
        return self._tokens.unseal(self._token, query=self._query) if self._token else None

    def after_number(self) -> int:
        """Return the place after which the page begins, as a number; 0 for the first page.

        Raises:
            BadTokenError: The token belongs to another query.
        """
        return self._tokens.unseal_number(self._token, query=self._query) if self._token else 0

    def token_at(self, place: str | int | None) -> str:
        """Return the token of the page after a place; empty for None, which is the end."""
        return "" if place is None else self._tokens.seal(place, query=self._query)

    def token_after(self, page: Page[T], place: Callable[[T], str | int]) -> str:
        """Return the token of the page that follows; empty after the last page.

        Args:
            page: The page that was read.
            place: Returns the place of an item.
        """
        return self.token_at(place(page.items[-1]) if page.has_more else None)


def is_oldest_first(request: Any) -> bool:
    """Return True if a list is requested in ascending order."""
    return bool(request.order == _OLDEST_FIRST)


def selection_of(request: Any) -> bytes:
    """Return the filter of a list request, as a part of the query of its tokens."""
    selection: bytes = request.filter.SerializeToString(deterministic=True)
    return selection
