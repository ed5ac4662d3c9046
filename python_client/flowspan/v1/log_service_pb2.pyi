import datetime

from flowspan.v1 import log_pb2 as _log_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_ORDER_UNSPECIFIED: _ClassVar[LogOrder]
    LOG_ORDER_OLDEST_FIRST: _ClassVar[LogOrder]
    LOG_ORDER_NEWEST_FIRST: _ClassVar[LogOrder]
LOG_ORDER_UNSPECIFIED: LogOrder
LOG_ORDER_OLDEST_FIRST: LogOrder
LOG_ORDER_NEWEST_FIRST: LogOrder

class ListLogsRequest(_message.Message):
    __slots__ = ("run_id", "include_descendants", "min_level", "page_size", "page_token", "loggers", "logged_after", "message_contains", "order")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_DESCENDANTS_FIELD_NUMBER: _ClassVar[int]
    MIN_LEVEL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LOGGERS_FIELD_NUMBER: _ClassVar[int]
    LOGGED_AFTER_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_CONTAINS_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    include_descendants: bool
    min_level: _log_pb2.LogLevel
    page_size: int
    page_token: str
    loggers: _containers.RepeatedScalarFieldContainer[str]
    logged_after: _timestamp_pb2.Timestamp
    message_contains: str
    order: LogOrder
    def __init__(self, run_id: _Optional[str] = ..., include_descendants: bool = ..., min_level: _Optional[_Union[_log_pb2.LogLevel, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., loggers: _Optional[_Iterable[str]] = ..., logged_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., message_contains: _Optional[str] = ..., order: _Optional[_Union[LogOrder, str]] = ...) -> None: ...

class ListLogsResponse(_message.Message):
    __slots__ = ("logs", "next_page_token", "order")
    LOGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    logs: _containers.RepeatedCompositeFieldContainer[_log_pb2.LogRecord]
    next_page_token: str
    order: LogOrder
    def __init__(self, logs: _Optional[_Iterable[_Union[_log_pb2.LogRecord, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., order: _Optional[_Union[LogOrder, str]] = ...) -> None: ...

class TailLogsRequest(_message.Message):
    __slots__ = ("run_id", "include_descendants", "min_level", "after_position", "loggers", "logged_after", "message_contains")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_DESCENDANTS_FIELD_NUMBER: _ClassVar[int]
    MIN_LEVEL_FIELD_NUMBER: _ClassVar[int]
    AFTER_POSITION_FIELD_NUMBER: _ClassVar[int]
    LOGGERS_FIELD_NUMBER: _ClassVar[int]
    LOGGED_AFTER_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_CONTAINS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    include_descendants: bool
    min_level: _log_pb2.LogLevel
    after_position: int
    loggers: _containers.RepeatedScalarFieldContainer[str]
    logged_after: _timestamp_pb2.Timestamp
    message_contains: str
    def __init__(self, run_id: _Optional[str] = ..., include_descendants: bool = ..., min_level: _Optional[_Union[_log_pb2.LogLevel, str]] = ..., after_position: _Optional[int] = ..., loggers: _Optional[_Iterable[str]] = ..., logged_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., message_contains: _Optional[str] = ...) -> None: ...

class TailLogsResponse(_message.Message):
    __slots__ = ("logs", "position")
    LOGS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    logs: _containers.RepeatedCompositeFieldContainer[_log_pb2.LogRecord]
    position: int
    def __init__(self, logs: _Optional[_Iterable[_Union[_log_pb2.LogRecord, _Mapping]]] = ..., position: _Optional[int] = ...) -> None: ...
