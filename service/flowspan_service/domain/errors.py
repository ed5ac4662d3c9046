"""Errors of whole calls. The edge maps each to a gRPC status with an ErrorInfo (api/errors.py)."""

from __future__ import annotations


class ServiceError(Exception):
    """A call failed.

    Attributes:
        reason: The name of a value of flowspan.v1.ErrorReason, without its prefix.
        advice: A sentence that tells the caller what to do.
        metadata: The field, run or limit concerned.
        retry_after_s: The time after which the same call may succeed, in seconds; None if a retry
            cannot help.
    """

    reason = "INTERNAL"
    retry_after_s: float | None = None

    def __init__(self, message: str, *, advice: str = "", **metadata: str) -> None:
        super().__init__(message)
        self.advice = advice
        self.metadata = metadata


class InvalidFieldError(ServiceError):
    """A required field is missing, or the value of a field is invalid."""

    reason = "INVALID_FIELD"


class TooLargeError(ServiceError):
    """A field or a message is larger than its limit."""

    reason = "TOO_LARGE"


class BadTokenError(ServiceError):
    """A page or resume token is from another database, or belongs to another query."""

    reason = "BAD_TOKEN"


class TokenOutOfRangeError(ServiceError):
    """A resume token is from another database, or from a later state of it (restored backup)."""

    reason = "TOKEN_OUT_OF_RANGE"


class BadSequenceError(ServiceError):
    """The frames of a stream came in an invalid order."""

    reason = "BAD_SEQUENCE"


class NotFoundError(ServiceError):
    """The run, flow, artifact, variable or session does not exist."""

    reason = "NOT_FOUND"


class AlreadyExistsError(ServiceError):
    """The id or name belongs to an object with different content."""

    reason = "ALREADY_EXISTS"


class StateConflictError(ServiceError):
    """The state of the run does not allow the call."""

    reason = "STATE_CONFLICT"


class SessionTakenOverError(ServiceError):
    """Another connection has taken over the session."""

    reason = "SESSION_TAKEN_OVER"


class WrongSecretError(ServiceError):
    """The session has a secret, and the call did not present it."""

    reason = "WRONG_SECRET"


class UnauthenticatedError(ServiceError):
    """The call has no valid access token, although it needs one."""

    reason = "UNAUTHENTICATED"


class MissingScopeError(ServiceError):
    """The access token of the call lacks the scope of the method."""

    reason = "MISSING_SCOPE"


class RateLimitedError(ServiceError):
    """The clients with the access token call more often than it allows."""

    reason = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after_s: float = 1.0, advice: str = "") -> None:
        super().__init__(message, advice=advice)
        self.retry_after_s = retry_after_s


class OverloadedError(ServiceError):
    """A limit of the service is reached."""

    reason = "OVERLOADED"
    retry_after_s = 1.0
    """The queue of reported bytes is written to the database in about this time."""


class AnswerTooLargeError(ServiceError):
    """The answer exceeds the maximum message size; read it page by page."""

    reason = "ANSWER_TOO_LARGE"


class StoppingError(ServiceError):
    """The service is stopping."""

    reason = "STOPPING"
    retry_after_s = 0.25
    """Short: another replica may answer at once, and a restart takes less than a second."""


class StoreUnavailableError(ServiceError):
    """The database cannot be read or written at present."""

    reason = "STORE_UNAVAILABLE"
    retry_after_s = 1.0
    """The service itself looks at an unavailable database once per second."""
