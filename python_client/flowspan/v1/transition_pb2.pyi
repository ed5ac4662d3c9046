import datetime

from flowspan.v1 import state_pb2 as _state_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TransitionCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRANSITION_CAUSE_UNSPECIFIED: _ClassVar[TransitionCause]
    TRANSITION_CAUSE_REPORTED: _ClassVar[TransitionCause]
    TRANSITION_CAUSE_REQUESTED: _ClassVar[TransitionCause]
    TRANSITION_CAUSE_SESSION_LOST: _ClassVar[TransitionCause]
TRANSITION_CAUSE_UNSPECIFIED: TransitionCause
TRANSITION_CAUSE_REPORTED: TransitionCause
TRANSITION_CAUSE_REQUESTED: TransitionCause
TRANSITION_CAUSE_SESSION_LOST: TransitionCause

class Transition(_message.Message):
    __slots__ = ("run_id", "ordinal", "attempt", "state", "cause", "position", "commit_time")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    COMMIT_TIME_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    ordinal: int
    attempt: int
    state: _state_pb2.State
    cause: TransitionCause
    position: int
    commit_time: _timestamp_pb2.Timestamp
    def __init__(self, run_id: _Optional[str] = ..., ordinal: _Optional[int] = ..., attempt: _Optional[int] = ..., state: _Optional[_Union[_state_pb2.State, _Mapping]] = ..., cause: _Optional[_Union[TransitionCause, str]] = ..., position: _Optional[int] = ..., commit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
