import datetime

from flowspan.v1 import trace_pb2 as _trace_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetInfoResponse(_message.Message):
    __slots__ = ("version", "schema_version", "database", "start_time", "server_time", "process_id", "connected_session_count", "committed_transition_count", "queued_event_count", "lease", "reconnect_grace", "otlp_endpoint", "capabilities", "max_message_bytes", "database_location", "database_size_bytes", "log_file", "is_embedded", "idle_timeout", "longest_write", "longest_recent_write", "database_problem", "http_address", "otlp_target", "trace_url")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    SERVER_TIME_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_SESSION_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_TRANSITION_COUNT_FIELD_NUMBER: _ClassVar[int]
    QUEUED_EVENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_GRACE_FIELD_NUMBER: _ClassVar[int]
    OTLP_ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATABASE_LOCATION_FIELD_NUMBER: _ClassVar[int]
    DATABASE_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOG_FILE_FIELD_NUMBER: _ClassVar[int]
    IS_EMBEDDED_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    LONGEST_WRITE_FIELD_NUMBER: _ClassVar[int]
    LONGEST_RECENT_WRITE_FIELD_NUMBER: _ClassVar[int]
    DATABASE_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    HTTP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OTLP_TARGET_FIELD_NUMBER: _ClassVar[int]
    TRACE_URL_FIELD_NUMBER: _ClassVar[int]
    version: str
    schema_version: str
    database: str
    start_time: _timestamp_pb2.Timestamp
    server_time: _timestamp_pb2.Timestamp
    process_id: int
    connected_session_count: int
    committed_transition_count: int
    queued_event_count: int
    lease: _duration_pb2.Duration
    reconnect_grace: _duration_pb2.Duration
    otlp_endpoint: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    max_message_bytes: int
    database_location: str
    database_size_bytes: int
    log_file: str
    is_embedded: bool
    idle_timeout: _duration_pb2.Duration
    longest_write: _duration_pb2.Duration
    longest_recent_write: _duration_pb2.Duration
    database_problem: str
    http_address: str
    otlp_target: _trace_pb2.OtlpTarget
    trace_url: str
    def __init__(self, version: _Optional[str] = ..., schema_version: _Optional[str] = ..., database: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., server_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., process_id: _Optional[int] = ..., connected_session_count: _Optional[int] = ..., committed_transition_count: _Optional[int] = ..., queued_event_count: _Optional[int] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reconnect_grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., otlp_endpoint: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., max_message_bytes: _Optional[int] = ..., database_location: _Optional[str] = ..., database_size_bytes: _Optional[int] = ..., log_file: _Optional[str] = ..., is_embedded: bool = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., longest_write: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., longest_recent_write: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., database_problem: _Optional[str] = ..., http_address: _Optional[str] = ..., otlp_target: _Optional[_Union[_trace_pb2.OtlpTarget, _Mapping]] = ..., trace_url: _Optional[str] = ...) -> None: ...
