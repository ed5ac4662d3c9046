import datetime

from flowspan.v1 import code_location_pb2 as _code_location_pb2
from flowspan.v1 import failure_pb2 as _failure_pb2
from flowspan.v1 import flow_run_pb2 as _flow_run_pb2
from flowspan.v1 import log_pb2 as _log_pb2
from flowspan.v1 import payload_pb2 as _payload_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StartRunRequest(_message.Message):
    __slots__ = ("flow_name", "id", "run_name", "run_context", "parameters", "tags", "traceparent", "lease", "version", "description", "labels", "code", "resource")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ResourceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FLOW_NAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    RUN_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    flow_name: str
    id: str
    run_name: str
    run_context: str
    parameters: _payload_pb2.Payload
    tags: _containers.RepeatedScalarFieldContainer[str]
    traceparent: str
    lease: _duration_pb2.Duration
    version: str
    description: str
    labels: _containers.ScalarMap[str, str]
    code: _code_location_pb2.CodeLocation
    resource: _containers.ScalarMap[str, str]
    def __init__(self, flow_name: _Optional[str] = ..., id: _Optional[str] = ..., run_name: _Optional[str] = ..., run_context: _Optional[str] = ..., parameters: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., tags: _Optional[_Iterable[str]] = ..., traceparent: _Optional[str] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., version: _Optional[str] = ..., description: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., code: _Optional[_Union[_code_location_pb2.CodeLocation, _Mapping]] = ..., resource: _Optional[_Mapping[str, str]] = ...) -> None: ...

class StartRunResponse(_message.Message):
    __slots__ = ("flow_run", "token", "traceparent", "run_context", "lease")
    FLOW_RUN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    RUN_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    flow_run: _flow_run_pb2.FlowRun
    token: str
    traceparent: str
    run_context: str
    lease: _duration_pb2.Duration
    def __init__(self, flow_run: _Optional[_Union[_flow_run_pb2.FlowRun, _Mapping]] = ..., token: _Optional[str] = ..., traceparent: _Optional[str] = ..., run_context: _Optional[str] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RunLog(_message.Message):
    __slots__ = ("message", "level", "time", "logger")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    LOGGER_FIELD_NUMBER: _ClassVar[int]
    message: str
    level: _log_pb2.LogLevel
    time: _timestamp_pb2.Timestamp
    logger: str
    def __init__(self, message: _Optional[str] = ..., level: _Optional[_Union[_log_pb2.LogLevel, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., logger: _Optional[str] = ...) -> None: ...

class TouchRunRequest(_message.Message):
    __slots__ = ("token", "logs", "number")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    token: str
    logs: _containers.RepeatedCompositeFieldContainer[RunLog]
    number: int
    def __init__(self, token: _Optional[str] = ..., logs: _Optional[_Iterable[_Union[RunLog, _Mapping]]] = ..., number: _Optional[int] = ...) -> None: ...

class TouchRunResponse(_message.Message):
    __slots__ = ("cancel_requested", "cancel_reason", "lease")
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REASON_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    cancel_requested: bool
    cancel_reason: str
    lease: _duration_pb2.Duration
    def __init__(self, cancel_requested: bool = ..., cancel_reason: _Optional[str] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class FinishRunRequest(_message.Message):
    __slots__ = ("token", "result", "failure", "cancelled", "logs", "message", "number")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    token: str
    result: _payload_pb2.Payload
    failure: _failure_pb2.Failure
    cancelled: RunCancelled
    logs: _containers.RepeatedCompositeFieldContainer[RunLog]
    message: str
    number: int
    def __init__(self, token: _Optional[str] = ..., result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., failure: _Optional[_Union[_failure_pb2.Failure, _Mapping]] = ..., cancelled: _Optional[_Union[RunCancelled, _Mapping]] = ..., logs: _Optional[_Iterable[_Union[RunLog, _Mapping]]] = ..., message: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class RunCancelled(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FinishRunResponse(_message.Message):
    __slots__ = ("flow_run",)
    FLOW_RUN_FIELD_NUMBER: _ClassVar[int]
    flow_run: _flow_run_pb2.FlowRun
    def __init__(self, flow_run: _Optional[_Union[_flow_run_pb2.FlowRun, _Mapping]] = ...) -> None: ...
