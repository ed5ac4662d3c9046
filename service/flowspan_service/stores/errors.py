"""Errors of opening a store."""

from __future__ import annotations


class StoreOpenError(Exception):
    """The database cannot be used.

    Its message says what is wrong and what to do, for the person who starts the service.
    """
