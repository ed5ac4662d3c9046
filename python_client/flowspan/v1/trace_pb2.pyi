from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class TraceContext(_message.Message):
    __slots__ = ("traceparent", "tracestate", "parent_span_id", "exported_by_service")
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    PARENT_SPAN_ID_FIELD_NUMBER: _ClassVar[int]
    EXPORTED_BY_SERVICE_FIELD_NUMBER: _ClassVar[int]
    traceparent: str
    tracestate: str
    parent_span_id: str
    exported_by_service: bool
    def __init__(self, traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ..., parent_span_id: _Optional[str] = ..., exported_by_service: bool = ...) -> None: ...

class OtlpTarget(_message.Message):
    __slots__ = ("protocol", "traces_url", "logs_url")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    TRACES_URL_FIELD_NUMBER: _ClassVar[int]
    LOGS_URL_FIELD_NUMBER: _ClassVar[int]
    protocol: str
    traces_url: str
    logs_url: str
    def __init__(self, protocol: _Optional[str] = ..., traces_url: _Optional[str] = ..., logs_url: _Optional[str] = ...) -> None: ...
