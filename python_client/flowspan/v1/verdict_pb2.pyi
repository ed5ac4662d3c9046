import datetime

from flowspan.v1 import state_pb2 as _state_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VerdictKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_KIND_UNSPECIFIED: _ClassVar[VerdictKind]
    VERDICT_KIND_ACCEPTED: _ClassVar[VerdictKind]
    VERDICT_KIND_DUPLICATE: _ClassVar[VerdictKind]
    VERDICT_KIND_REJECTED: _ClassVar[VerdictKind]
    VERDICT_KIND_WAIT: _ClassVar[VerdictKind]
    VERDICT_KIND_ABORT: _ClassVar[VerdictKind]
VERDICT_KIND_UNSPECIFIED: VerdictKind
VERDICT_KIND_ACCEPTED: VerdictKind
VERDICT_KIND_DUPLICATE: VerdictKind
VERDICT_KIND_REJECTED: VerdictKind
VERDICT_KIND_WAIT: VerdictKind
VERDICT_KIND_ABORT: VerdictKind

class Verdict(_message.Message):
    __slots__ = ("sequence", "run_id", "kind", "rule", "reason", "current_state", "current_attempt", "retry_after")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CURRENT_STATE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    run_id: str
    kind: VerdictKind
    rule: str
    reason: str
    current_state: _state_pb2.State
    current_attempt: int
    retry_after: _duration_pb2.Duration
    def __init__(self, sequence: _Optional[int] = ..., run_id: _Optional[str] = ..., kind: _Optional[_Union[VerdictKind, str]] = ..., rule: _Optional[str] = ..., reason: _Optional[str] = ..., current_state: _Optional[_Union[_state_pb2.State, _Mapping]] = ..., current_attempt: _Optional[int] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
