"""The errors of flowspan: one small tree under FlowspanError, and the signals that stop a run."""

from __future__ import annotations

from flowspan.prefect_names import refusing


class FlowspanError(Exception):
    """An error of flowspan's, as opposed to one of user code.

    Attributes:
        code: A short stable name, for programs.
        retryable: Whether the same call may succeed later.
    """

    code = "flowspan"
    retryable = False


class ConfigError(FlowspanError):
    """A setting has a value that it may not have; the message names it."""

    code = "config"


class ServiceUnavailableError(FlowspanError):
    """The service could not be reached; the message says where, why and what to do."""

    code = "service_unavailable"
    retryable = True


class LocalServiceError(FlowspanError):
    """The local service could not be started; the message says why and where its log is."""

    code = "local_service"


class ParameterError(FlowspanError, TypeError):
    """The arguments do not fit the parameters of the flow or task; the message says which."""

    code = "parameters"


class InvalidNameError(FlowspanError, ValueError):
    """The name of a flow has a character that it may not have."""


class ReservedArgumentError(FlowspanError, TypeError):
    """A function has a parameter that is named like an option of every call."""

    code = "reserved_argument"


class MissingResult(FlowspanError):  # noqa: N818 - the field's name for it
    """The state has no result to give."""

    code = "missing_result"


class UnfinishedRun(MissingResult):
    """The run has not ended: it has no result yet."""

    code = "unfinished_run"


class SerializationError(FlowspanError):
    """A serializer cannot write or read a value; the message says which and why."""

    code = "serialization"


class ResultUnreadable(FlowspanError):  # noqa: N818 - what it says
    """What is stored in the place of a result cannot be read; the message says why."""

    code = "result_unreadable"


class UntrustedResult(ResultUnreadable):
    """A result is in a place that only the run has named, and is not read unless it is trusted."""

    code = "untrusted_result"


class HashError(FlowspanError, TypeError):
    """A value cannot be hashed; the message says of which type, and what to do."""

    code = "hash"


class RunFailed(FlowspanError):  # noqa: N818 - named after the state
    """A run ended as Failed without an exception of its own (it returned a failed state)."""

    code = "run_failed"


class CrashedRun(RunFailed):
    """A run was broken off from outside its code."""

    code = "crashed_run"


class UpstreamFailed(UnfinishedRun):
    """A run that this one takes its input from did not complete, so that this one never began."""

    code = "upstream_failed"


class SelfDependency(FlowspanError, RuntimeError):  # noqa: N818 - named after the cause
    """A run waits for one that cannot end before it does itself; the message says which."""

    code = "self_dependency"


class VisualizationError(FlowspanError):
    """A flow could not be drawn; the message says why."""

    code = "visualization"


class MappingMissingIterable(FlowspanError, TypeError):  # noqa: N818 - Prefect's name
    """`map` was given nothing to map over."""

    code = "mapping_missing_iterable"


class MappingLengthMismatch(FlowspanError, ValueError):  # noqa: N818 - Prefect's name
    """`map` was given iterables of different lengths."""

    code = "mapping_length_mismatch"


class WorkerProcessDied(FlowspanError):  # noqa: N818 - it says what happened
    """The process in which a task ran ended before the task did; its run is Crashed.

    Attributes:
        exit_code: What the process ended with; None if a signal ended it.
        signal: The name of the signal that ended it ("SIGKILL"); empty if none did.
    """

    code = "worker_process_died"
    retryable = True

    def __init__(self, message: str, *, exit_code: int | None = None, signal: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.signal = signal


class NotPortable(FlowspanError, TypeError):  # noqa: N818 - says what the value is
    """A value cannot be sent to another process, or back; the message says which and why."""

    code = "not_portable"


class RemoteError(FlowspanError):
    """Stands for an exception of a worker process that could not be sent as it was.

    Its text is that exception's.

    Attributes:
        type_name: The name of its type, with its module.
    """

    code = "remote"

    def __init__(self, message: str, type_name: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name


class RunTimeout(FlowspanError, TimeoutError):  # noqa: N818 - named after the state
    """A run took longer than its timeout_seconds.

    Attributes:
        run_id: The run whose deadline it was; empty where it was the wait for a result.
    """

    code = "run_timeout"

    def __init__(self, message: str, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class NoRunError(FlowspanError, RuntimeError):
    """Something was asked for that only exists inside a flow or task run."""

    code = "no_run"


class ApiError(FlowspanError):
    """The service refused a call.

    Attributes:
        status: The gRPC status code's name, for example NOT_FOUND.
        reason: The name of a value of flowspan.v1.ErrorReason without its prefix.
        advice: What the caller can do; may be empty.
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
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.advice = advice
        self.retryable = retryable


class ObjectNotFound(ApiError):  # noqa: N818 - Prefect's name
    """The service does not know what was asked for; the message says what."""

    code = "not_found"


class ObjectAlreadyExists(ApiError):  # noqa: N818 - Prefect's name
    """The id or name is taken by something with another content."""

    code = "already_exists"


class VariableAlreadyExists(ObjectAlreadyExists, ValueError):  # noqa: N818 - as its base
    """There is a variable of that name, and it was not to be overwritten."""

    code = "variable_already_exists"


class FlowRunWaitTimeout(FlowspanError, TimeoutError):  # noqa: N818 - Prefect's name
    """A flow run had not ended when the time to wait for it was over."""

    code = "flow_run_wait_timeout"


class RunSignal(BaseException):
    """Stops a run from inside. Not an Exception, so that `except Exception` does not eat it."""


class CancelRun(RunSignal):
    """The run was asked to cancel."""


class DeadlinePassed(RunSignal):
    """A run that called this one has passed its timeout_seconds.

    Attributes:
        run_id: The run whose deadline it was; empty where that is not known.
    """

    def __init__(self, message: str = "A deadline has passed.", run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class TerminationSignal(RunSignal):
    """The process was told to end (SIGTERM) while a flow or task ran at the top.

    Attributes:
        signal: The number of the signal.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal

    def __str__(self) -> str:
        return f"The process was told to end (signal {self.signal})."


# The same by Prefect's names, so that code that catches them goes on working.
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
