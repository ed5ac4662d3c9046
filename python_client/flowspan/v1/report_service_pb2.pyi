import datetime

from flowspan.v1 import report_pb2 as _report_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReportRequest(_message.Message):
    __slots__ = ("hello", "batch", "heartbeat", "goodbye")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    hello: _report_pb2.Hello
    batch: _report_pb2.Batch
    heartbeat: _report_pb2.Heartbeat
    goodbye: _report_pb2.Goodbye
    def __init__(self, hello: _Optional[_Union[_report_pb2.Hello, _Mapping]] = ..., batch: _Optional[_Union[_report_pb2.Batch, _Mapping]] = ..., heartbeat: _Optional[_Union[_report_pb2.Heartbeat, _Mapping]] = ..., goodbye: _Optional[_Union[_report_pb2.Goodbye, _Mapping]] = ...) -> None: ...

class ReportResponse(_message.Message):
    __slots__ = ("welcome", "ack", "command")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    welcome: _report_pb2.Welcome
    ack: _report_pb2.Ack
    command: _report_pb2.Command
    def __init__(self, welcome: _Optional[_Union[_report_pb2.Welcome, _Mapping]] = ..., ack: _Optional[_Union[_report_pb2.Ack, _Mapping]] = ..., command: _Optional[_Union[_report_pb2.Command, _Mapping]] = ...) -> None: ...

class ReportBatchRequest(_message.Message):
    __slots__ = ("hello", "batch", "goodbye")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    hello: _report_pb2.Hello
    batch: _report_pb2.Batch
    goodbye: bool
    def __init__(self, hello: _Optional[_Union[_report_pb2.Hello, _Mapping]] = ..., batch: _Optional[_Union[_report_pb2.Batch, _Mapping]] = ..., goodbye: bool = ...) -> None: ...

class ReportBatchResponse(_message.Message):
    __slots__ = ("ack", "commands", "lease", "welcome")
    ACK_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ack: _report_pb2.Ack
    commands: _containers.RepeatedCompositeFieldContainer[_report_pb2.Command]
    lease: _duration_pb2.Duration
    welcome: _report_pb2.Welcome
    def __init__(self, ack: _Optional[_Union[_report_pb2.Ack, _Mapping]] = ..., commands: _Optional[_Iterable[_Union[_report_pb2.Command, _Mapping]]] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., welcome: _Optional[_Union[_report_pb2.Welcome, _Mapping]] = ...) -> None: ...

class WatchCommandsRequest(_message.Message):
    __slots__ = ("session_id", "secret")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    secret: bytes
    def __init__(self, session_id: _Optional[str] = ..., secret: _Optional[bytes] = ...) -> None: ...

class WatchCommandsResponse(_message.Message):
    __slots__ = ("command",)
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    command: _report_pb2.Command
    def __init__(self, command: _Optional[_Union[_report_pb2.Command, _Mapping]] = ...) -> None: ...
