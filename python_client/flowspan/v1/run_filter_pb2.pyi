import datetime

from flowspan.v1 import state_pb2 as _state_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_ORDER_UNSPECIFIED: _ClassVar[RunOrder]
    RUN_ORDER_NEWEST_FIRST: _ClassVar[RunOrder]
    RUN_ORDER_OLDEST_FIRST: _ClassVar[RunOrder]
RUN_ORDER_UNSPECIFIED: RunOrder
RUN_ORDER_NEWEST_FIRST: RunOrder
RUN_ORDER_OLDEST_FIRST: RunOrder

class RunFilter(_message.Message):
    __slots__ = ("state_types", "state_names", "function_names", "tags", "parent_run_id", "root_run_id", "flow_run_id", "top_level_only", "created_after", "created_before", "run_name", "id_prefix", "id_suffix")
    STATE_TYPES_FIELD_NUMBER: _ClassVar[int]
    STATE_NAMES_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_NAMES_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ROOT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FLOW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TOP_LEVEL_ONLY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AFTER_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    ID_PREFIX_FIELD_NUMBER: _ClassVar[int]
    ID_SUFFIX_FIELD_NUMBER: _ClassVar[int]
    state_types: _containers.RepeatedScalarFieldContainer[_state_pb2.StateType]
    state_names: _containers.RepeatedScalarFieldContainer[str]
    function_names: _containers.RepeatedScalarFieldContainer[str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    parent_run_id: str
    root_run_id: str
    flow_run_id: str
    top_level_only: bool
    created_after: _timestamp_pb2.Timestamp
    created_before: _timestamp_pb2.Timestamp
    run_name: str
    id_prefix: str
    id_suffix: str
    def __init__(self, state_types: _Optional[_Iterable[_Union[_state_pb2.StateType, str]]] = ..., state_names: _Optional[_Iterable[str]] = ..., function_names: _Optional[_Iterable[str]] = ..., tags: _Optional[_Iterable[str]] = ..., parent_run_id: _Optional[str] = ..., root_run_id: _Optional[str] = ..., flow_run_id: _Optional[str] = ..., top_level_only: bool = ..., created_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., run_name: _Optional[str] = ..., id_prefix: _Optional[str] = ..., id_suffix: _Optional[str] = ...) -> None: ...

class StateCount(_message.Message):
    __slots__ = ("type", "count")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    type: _state_pb2.StateType
    count: int
    def __init__(self, type: _Optional[_Union[_state_pb2.StateType, str]] = ..., count: _Optional[int] = ...) -> None: ...
