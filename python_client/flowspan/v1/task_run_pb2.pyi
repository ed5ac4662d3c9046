import datetime

from flowspan.v1 import code_location_pb2 as _code_location_pb2
from flowspan.v1 import payload_pb2 as _payload_pb2
from flowspan.v1 import run_input_pb2 as _run_input_pb2
from flowspan.v1 import state_pb2 as _state_pb2
from flowspan.v1 import trace_pb2 as _trace_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TaskRun(_message.Message):
    __slots__ = ("id", "task_name", "name", "flow_run_id", "parent_run_id", "root_run_id", "state", "attempt", "tags", "parameters", "create_time", "start_time", "end_time", "run_duration", "trace", "task_version", "session_id", "transition_count", "description", "max_attempts", "inputs", "code")
    ID_FIELD_NUMBER: _ClassVar[int]
    TASK_NAME_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FLOW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ROOT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    RUN_DURATION_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    TASK_VERSION_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TRANSITION_COUNT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    id: str
    task_name: str
    name: str
    flow_run_id: str
    parent_run_id: str
    root_run_id: str
    state: _state_pb2.State
    attempt: int
    tags: _containers.RepeatedScalarFieldContainer[str]
    parameters: _payload_pb2.Payload
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    run_duration: _duration_pb2.Duration
    trace: _trace_pb2.TraceContext
    task_version: str
    session_id: str
    transition_count: int
    description: str
    max_attempts: int
    inputs: _containers.RepeatedCompositeFieldContainer[_run_input_pb2.RunInput]
    code: _code_location_pb2.CodeLocation
    def __init__(self, id: _Optional[str] = ..., task_name: _Optional[str] = ..., name: _Optional[str] = ..., flow_run_id: _Optional[str] = ..., parent_run_id: _Optional[str] = ..., root_run_id: _Optional[str] = ..., state: _Optional[_Union[_state_pb2.State, _Mapping]] = ..., attempt: _Optional[int] = ..., tags: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., run_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., trace: _Optional[_Union[_trace_pb2.TraceContext, _Mapping]] = ..., task_version: _Optional[str] = ..., session_id: _Optional[str] = ..., transition_count: _Optional[int] = ..., description: _Optional[str] = ..., max_attempts: _Optional[int] = ..., inputs: _Optional[_Iterable[_Union[_run_input_pb2.RunInput, _Mapping]]] = ..., code: _Optional[_Union[_code_location_pb2.CodeLocation, _Mapping]] = ...) -> None: ...
