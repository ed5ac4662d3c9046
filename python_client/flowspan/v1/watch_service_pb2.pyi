from flowspan.v1 import flow_run_pb2 as _flow_run_pb2
from flowspan.v1 import run_filter_pb2 as _run_filter_pb2
from flowspan.v1 import task_run_pb2 as _task_run_pb2
from flowspan.v1 import transition_pb2 as _transition_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SnapshotScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SNAPSHOT_SCOPE_UNSPECIFIED: _ClassVar[SnapshotScope]
    SNAPSHOT_SCOPE_ALL: _ClassVar[SnapshotScope]
    SNAPSHOT_SCOPE_ACTIVE: _ClassVar[SnapshotScope]
    SNAPSHOT_SCOPE_NONE: _ClassVar[SnapshotScope]
SNAPSHOT_SCOPE_UNSPECIFIED: SnapshotScope
SNAPSHOT_SCOPE_ALL: SnapshotScope
SNAPSHOT_SCOPE_ACTIVE: SnapshotScope
SNAPSHOT_SCOPE_NONE: SnapshotScope

class WatchRequest(_message.Message):
    __slots__ = ("run_id", "resume_token", "flow_runs_only", "changes_only", "snapshot", "filter")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FLOW_RUNS_ONLY_FIELD_NUMBER: _ClassVar[int]
    CHANGES_ONLY_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    resume_token: str
    flow_runs_only: bool
    changes_only: bool
    snapshot: SnapshotScope
    filter: _run_filter_pb2.RunFilter
    def __init__(self, run_id: _Optional[str] = ..., resume_token: _Optional[str] = ..., flow_runs_only: bool = ..., changes_only: bool = ..., snapshot: _Optional[_Union[SnapshotScope, str]] = ..., filter: _Optional[_Union[_run_filter_pb2.RunFilter, _Mapping]] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("flow_run", "task_run", "snapshot_end", "change", "keep_alive", "resume_token")
    FLOW_RUN_FIELD_NUMBER: _ClassVar[int]
    TASK_RUN_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_END_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    KEEP_ALIVE_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    flow_run: _flow_run_pb2.FlowRun
    task_run: _task_run_pb2.TaskRun
    snapshot_end: SnapshotEnd
    change: Change
    keep_alive: KeepAlive
    resume_token: str
    def __init__(self, flow_run: _Optional[_Union[_flow_run_pb2.FlowRun, _Mapping]] = ..., task_run: _Optional[_Union[_task_run_pb2.TaskRun, _Mapping]] = ..., snapshot_end: _Optional[_Union[SnapshotEnd, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ..., keep_alive: _Optional[_Union[KeepAlive, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class SnapshotEnd(_message.Message):
    __slots__ = ("run_count",)
    RUN_COUNT_FIELD_NUMBER: _ClassVar[int]
    run_count: int
    def __init__(self, run_count: _Optional[int] = ...) -> None: ...

class KeepAlive(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Change(_message.Message):
    __slots__ = ("transition", "flow_run", "task_run")
    TRANSITION_FIELD_NUMBER: _ClassVar[int]
    FLOW_RUN_FIELD_NUMBER: _ClassVar[int]
    TASK_RUN_FIELD_NUMBER: _ClassVar[int]
    transition: _transition_pb2.Transition
    flow_run: _flow_run_pb2.FlowRun
    task_run: _task_run_pb2.TaskRun
    def __init__(self, transition: _Optional[_Union[_transition_pb2.Transition, _Mapping]] = ..., flow_run: _Optional[_Union[_flow_run_pb2.FlowRun, _Mapping]] = ..., task_run: _Optional[_Union[_task_run_pb2.TaskRun, _Mapping]] = ...) -> None: ...
