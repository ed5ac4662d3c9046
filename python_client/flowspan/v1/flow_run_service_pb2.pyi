from flowspan.v1 import flow_run_pb2 as _flow_run_pb2
from flowspan.v1 import run_filter_pb2 as _run_filter_pb2
from flowspan.v1 import state_pb2 as _state_pb2
from flowspan.v1 import transition_pb2 as _transition_pb2
from flowspan.v1 import verdict_pb2 as _verdict_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateFlowRunRequest(_message.Message):
    __slots__ = ("flow_run", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FLOW_RUN_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    flow_run: _flow_run_pb2.FlowRun
    labels: _containers.ScalarMap[str, str]
    def __init__(self, flow_run: _Optional[_Union[_flow_run_pb2.FlowRun, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CreateFlowRunResponse(_message.Message):
    __slots__ = ("flow_run", "created")
    FLOW_RUN_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    flow_run: _flow_run_pb2.FlowRun
    created: bool
    def __init__(self, flow_run: _Optional[_Union[_flow_run_pb2.FlowRun, _Mapping]] = ..., created: bool = ...) -> None: ...

class GetFlowRunRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetFlowRunResponse(_message.Message):
    __slots__ = ("flow_run",)
    FLOW_RUN_FIELD_NUMBER: _ClassVar[int]
    flow_run: _flow_run_pb2.FlowRun
    def __init__(self, flow_run: _Optional[_Union[_flow_run_pb2.FlowRun, _Mapping]] = ...) -> None: ...

class ListFlowRunsRequest(_message.Message):
    __slots__ = ("filter", "order", "page_size", "page_token")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    filter: _run_filter_pb2.RunFilter
    order: _run_filter_pb2.RunOrder
    page_size: int
    page_token: str
    def __init__(self, filter: _Optional[_Union[_run_filter_pb2.RunFilter, _Mapping]] = ..., order: _Optional[_Union[_run_filter_pb2.RunOrder, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListFlowRunsResponse(_message.Message):
    __slots__ = ("flow_runs", "next_page_token")
    FLOW_RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    flow_runs: _containers.RepeatedCompositeFieldContainer[_flow_run_pb2.FlowRun]
    next_page_token: str
    def __init__(self, flow_runs: _Optional[_Iterable[_Union[_flow_run_pb2.FlowRun, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CountFlowRunsRequest(_message.Message):
    __slots__ = ("filter",)
    FILTER_FIELD_NUMBER: _ClassVar[int]
    filter: _run_filter_pb2.RunFilter
    def __init__(self, filter: _Optional[_Union[_run_filter_pb2.RunFilter, _Mapping]] = ...) -> None: ...

class CountFlowRunsResponse(_message.Message):
    __slots__ = ("counts",)
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedCompositeFieldContainer[_run_filter_pb2.StateCount]
    def __init__(self, counts: _Optional[_Iterable[_Union[_run_filter_pb2.StateCount, _Mapping]]] = ...) -> None: ...

class DeleteFlowRunRequest(_message.Message):
    __slots__ = ("id", "force")
    ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    force: bool
    def __init__(self, id: _Optional[str] = ..., force: bool = ...) -> None: ...

class DeleteFlowRunResponse(_message.Message):
    __slots__ = ("deleted_run_count",)
    DELETED_RUN_COUNT_FIELD_NUMBER: _ClassVar[int]
    deleted_run_count: int
    def __init__(self, deleted_run_count: _Optional[int] = ...) -> None: ...

class SetFlowRunStateRequest(_message.Message):
    __slots__ = ("id", "state")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: _state_pb2.State
    def __init__(self, id: _Optional[str] = ..., state: _Optional[_Union[_state_pb2.State, _Mapping]] = ...) -> None: ...

class SetFlowRunStateResponse(_message.Message):
    __slots__ = ("verdict", "flow_run")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    FLOW_RUN_FIELD_NUMBER: _ClassVar[int]
    verdict: _verdict_pb2.Verdict
    flow_run: _flow_run_pb2.FlowRun
    def __init__(self, verdict: _Optional[_Union[_verdict_pb2.Verdict, _Mapping]] = ..., flow_run: _Optional[_Union[_flow_run_pb2.FlowRun, _Mapping]] = ...) -> None: ...

class ListFlowRunTransitionsRequest(_message.Message):
    __slots__ = ("id", "page_size", "page_token")
    ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    id: str
    page_size: int
    page_token: str
    def __init__(self, id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListFlowRunTransitionsResponse(_message.Message):
    __slots__ = ("transitions", "next_page_token")
    TRANSITIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    transitions: _containers.RepeatedCompositeFieldContainer[_transition_pb2.Transition]
    next_page_token: str
    def __init__(self, transitions: _Optional[_Iterable[_Union[_transition_pb2.Transition, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelFlowRunRequest(_message.Message):
    __slots__ = ("id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    reason: str
    def __init__(self, id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CancelFlowRunResponse(_message.Message):
    __slots__ = ("verdict", "flow_run", "asked_run_count")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    FLOW_RUN_FIELD_NUMBER: _ClassVar[int]
    ASKED_RUN_COUNT_FIELD_NUMBER: _ClassVar[int]
    verdict: _verdict_pb2.Verdict
    flow_run: _flow_run_pb2.FlowRun
    asked_run_count: int
    def __init__(self, verdict: _Optional[_Union[_verdict_pb2.Verdict, _Mapping]] = ..., flow_run: _Optional[_Union[_flow_run_pb2.FlowRun, _Mapping]] = ..., asked_run_count: _Optional[int] = ...) -> None: ...
