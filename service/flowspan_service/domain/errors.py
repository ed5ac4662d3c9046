"""Errors of whole calls. The edge maps each to a gRPC status with an ErrorInfo (api/errors.py)."""

from __future__ import annotations


class ServiceError(Exception):
    """A call failed.

    Attributes:
        reason: The name of a value of flowspan.v1.ErrorReason, without its prefix.
        advice: What the caller can do, in a sentence.
        metadata: Which field, run or limit is concerned.
    """

    reason = "INTERNAL"

    def __init__(self, message: str, *, advice: str = "", **metadata: str) -> None:
        super().__init__(message)
        self.advice = advice
        self.metadata = metadata


class InvalidFieldError(ServiceError):
    """A required field is missing, or a field has a value it may not have."""

    reason = "INVALID_FIELD"


class TooLargeError(ServiceError):
    """A field or a message is larger than its limit."""

    reason = "TOO_LARGE"


class BadTokenError(ServiceError):
    """A page token or resume token was not made for this database, or belongs to another query."""

    reason = "BAD_TOKEN"


class TokenOutOfRangeError(ServiceError):
    """A resume token is of another database, or of a state that the database is not in any more."""

    reason = "TOKEN_OUT_OF_RANGE"


class BadSequenceError(ServiceError):
    """The frames of a stream came in an order they may not have."""

    reason = "BAD_SEQUENCE"


class NotFoundError(ServiceError):
    """There is no such run or flow."""

    reason = "NOT_FOUND"


class AlreadyExistsError(ServiceError):
    """A run with this id exists and was created with another content."""

    reason = "ALREADY_EXISTS"


class StateConflictError(ServiceError):
    """The run's state does not allow it."""

    reason = "STATE_CONFLICT"


class SessionTakenOverError(ServiceError):
    """Another connection has taken over the session."""

    reason = "SESSION_TAKEN_OVER"


class WrongSecretError(ServiceError):
    """A session has a secret, and the call did not show it."""

    reason = "WRONG_SECRET"


class OverloadedError(ServiceError):
    """A limit of the service is reached."""

    reason = "OVERLOADED"


class AnswerTooLargeError(ServiceError):
    """The answer is larger than a message may be; it is to be read page by page."""

    reason = "ANSWER_TOO_LARGE"


class StoppingError(ServiceError):
    """The service is stopping."""

    reason = "STOPPING"


class StoreUnavailableError(ServiceError):
    """The database cannot be written or read at present."""

    reason = "STORE_UNAVAILABLE"
