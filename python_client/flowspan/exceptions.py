"""Exceptions of flowspan: a small tree under FlowspanError, and the signals that stop a run."""

from __future__ import annotations

from flowspan.prefect_names import refusing


class FlowspanError(Exception):
    """Base class of the errors that flowspan raises, as opposed to errors of user code.

    Attributes:
        code: A short stable name, for programs.
        retryable: True if the same call may succeed later.
    """

    code = "flowspan"
    retryable = False


class ConfigError(FlowspanError):
    """Raised when a setting has an invalid value. The message names the setting."""

    code = "config"


class ServiceUnavailableError(FlowspanError):
    """Raised when the service is unreachable. The message has the address and the reason."""

    code = "service_unavailable"
    retryable = True


class LocalServiceError(FlowspanError):
    """Raised when the local service could not be started. The message has the reason."""

    code = "local_service"


class ParameterError(FlowspanError, TypeError):
    """Raised when arguments do not match the parameters of a flow or task."""

    code = "parameters"


class InvalidNameError(FlowspanError, ValueError):
    """Raised when the name of a flow contains an invalid character."""


class ReservedArgumentError(FlowspanError, TypeError):
    """Raised when a function has a parameter with the name of an option of every call."""

    code = "reserved_argument"


class MissingResult(FlowspanError):  # noqa: N818 - Prefect's name
    """Raised when a state has no result."""

    code = "missing_result"


class UnfinishedRun(MissingResult):
    """Raised when a result is requested from a run that has not ended."""

    code = "unfinished_run"


class SerializationError(FlowspanError):
    """Raised when a serializer cannot write or read a value. The message has the reason."""

    code = "serialization"


class ResultUnreadable(FlowspanError):  # noqa: N818 - named after the condition
    """Raised when a stored result cannot be read. The message has the reason."""

    code = "result_unreadable"


class UntrustedResult(ResultUnreadable):
    """Raised when a result is at a location that only the run has named and that is not trusted."""

    code = "untrusted_result"


class HashError(FlowspanError, TypeError):
    """Raised when a value cannot be hashed. The message names its type and the remedy."""

    code = "hash"


class RunFailed(FlowspanError):  # noqa: N818 - named after the state
    """Raised for a Failed run without an exception of its own, which returned a failed state."""

    code = "run_failed"


class CrashedRun(RunFailed):
    """Raised for a run that was interrupted from outside its code."""

    code = "crashed_run"


class UpstreamFailed(UnfinishedRun):
    """Raised for a run that never started, because a run that it depends on did not complete."""

    code = "upstream_failed"


class SelfDependency(FlowspanError, RuntimeError):  # noqa: N818 - named after the cause
    """Raised when a run waits for a run that cannot end before it: a deadlock."""

    code = "self_dependency"


class VisualizationError(FlowspanError):
    """Raised when a flow cannot be drawn. The message has the reason."""

    code = "visualization"


class MappingMissingIterable(FlowspanError, TypeError):  # noqa: N818 - Prefect's name
    """Raised when `map` is called without an iterable argument."""

    code = "mapping_missing_iterable"


class MappingLengthMismatch(FlowspanError, ValueError):  # noqa: N818 - Prefect's name
    """Raised when `map` is called with iterables of different lengths."""

    code = "mapping_length_mismatch"


class WorkerProcessDied(FlowspanError):  # noqa: N818 - named after the event
    """Raised when the worker process of a task ended before the task did. The run is Crashed.

    Attributes:
        exit_code: The exit code of the process; None if a signal ended it.
        signal: The name of the signal that ended it ("SIGKILL"); empty if none did.
    """

    code = "worker_process_died"
    retryable = True

    def __init__(self, message: str, *, exit_code: int | None = None, signal: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.signal = signal


class NotPortable(FlowspanError, TypeError):  # noqa: N818 - named after the condition
    """Raised when a value cannot be pickled for another process. The message has the reason."""

    code = "not_portable"


class RemoteError(FlowspanError):
    """Stand-in for an exception of a worker process that could not be pickled. Has the same text.

    Attributes:
        type_name: The qualified name of the original type.
    """

    code = "remote"

    def __init__(self, message: str, type_name: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name


class RunTimeout(FlowspanError, TimeoutError):  # noqa: N818 - named after the state
    """Raised when a run exceeds its timeout_seconds, or a wait for a result its timeout.

    Attributes:
        run_id: The run whose deadline has passed; empty for the timeout of a wait.
    """

    code = "run_timeout"

    def __init__(self, message: str, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class NoRunError(FlowspanError, RuntimeError):
    """Raised when something is requested that exists only inside a flow or task run."""

    code = "no_run"


class ApiError(FlowspanError):
    """Raised when the service refuses a call.

    Attributes:
        status: The name of the gRPC status code, such as NOT_FOUND.
        reason: The name of a value of flowspan.v1.ErrorReason without its prefix.
        advice: The recommended action; may be empty.
        retry_after_s: The time to wait before a retry, in seconds, if the service named one.
    """

    code = "api"

    def __init__(
        self,
        message: str,
        *,
        status: str,
        reason: str = "",
        advice: str = "",
        retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.advice = advice
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class ObjectNotFound(ApiError):  # noqa: N818 - Prefect's name
    """Raised when the service does not know the requested object. The message names it."""

    code = "not_found"


class ObjectAlreadyExists(ApiError):  # noqa: N818 - Prefect's name
    """Raised when an id or name belongs to an object with different content."""

    code = "already_exists"


class VariableAlreadyExists(ObjectAlreadyExists, ValueError):  # noqa: N818 - as its base class
    """Raised when a variable exists and `overwrite` is False."""

    code = "variable_already_exists"


class FlowRunWaitTimeout(FlowspanError, TimeoutError):  # noqa: N818 - Prefect's name
    """Raised when a flow run does not end within the time to wait for it."""

    code = "flow_run_wait_timeout"


class RunSignal(BaseException):
    """Base class of signals that stop a run. Not an Exception, so `except Exception` ignores it."""


class CancelRun(RunSignal):
    """Raised inside a run that is being cancelled."""


class DeadlinePassed(RunSignal):
    """Raised inside a run when a run that called it has exceeded its timeout_seconds.

    Attributes:
        run_id: The run whose deadline has passed; empty if unknown.
    """

    def __init__(self, message: str = "A deadline has passed.", run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class TerminationSignal(RunSignal):
    """Raised when the process receives SIGTERM during a top-level flow or task run.

    Attributes:
        signal: The number of the signal.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal

    def __str__(self) -> str:
        return f"The process was asked to end (signal {self.signal})."


# Aliases under Prefect's names, so that code that catches them keeps working.
CancelledRun = CancelRun
ConfigurationError = ConfigError
FailedRun = RunFailed
MissingContextError = NoRunError
ParameterBindError = ParameterError
ParameterTypeError = ParameterError
PrefectException = FlowspanError
PrefectSignal = RunSignal
SignatureMismatchError = ParameterError
UpstreamTaskError = UpstreamFailed


__getattr__ = refusing(__name__)
