import datetime

from flowspan.v1 import artifact_pb2 as _artifact_pb2
from flowspan.v1 import code_location_pb2 as _code_location_pb2
from flowspan.v1 import log_pb2 as _log_pb2
from flowspan.v1 import payload_pb2 as _payload_pb2
from flowspan.v1 import run_input_pb2 as _run_input_pb2
from flowspan.v1 import state_pb2 as _state_pb2
from flowspan.v1 import trace_pb2 as _trace_pb2
from flowspan.v1 import verdict_pb2 as _verdict_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_KIND_UNSPECIFIED: _ClassVar[RunKind]
    RUN_KIND_FLOW: _ClassVar[RunKind]
    RUN_KIND_TASK: _ClassVar[RunKind]
RUN_KIND_UNSPECIFIED: RunKind
RUN_KIND_FLOW: RunKind
RUN_KIND_TASK: RunKind

class Hello(_message.Message):
    __slots__ = ("session_id", "client_name", "client_version", "client_language", "hostname", "process_id", "capabilities", "lease", "recovering", "secret", "client_time", "acked_sequence", "resource", "spans_by_service", "otlp_target", "logs_by_service")
    class ResourceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_NAME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLIENT_LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    RECOVERING_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    CLIENT_TIME_FIELD_NUMBER: _ClassVar[int]
    ACKED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    SPANS_BY_SERVICE_FIELD_NUMBER: _ClassVar[int]
    OTLP_TARGET_FIELD_NUMBER: _ClassVar[int]
    LOGS_BY_SERVICE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    client_name: str
    client_version: str
    client_language: str
    hostname: str
    process_id: int
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    lease: _duration_pb2.Duration
    recovering: bool
    secret: bytes
    client_time: _timestamp_pb2.Timestamp
    acked_sequence: int
    resource: _containers.ScalarMap[str, str]
    spans_by_service: bool
    otlp_target: _trace_pb2.OtlpTarget
    logs_by_service: bool
    def __init__(self, session_id: _Optional[str] = ..., client_name: _Optional[str] = ..., client_version: _Optional[str] = ..., client_language: _Optional[str] = ..., hostname: _Optional[str] = ..., process_id: _Optional[int] = ..., capabilities: _Optional[_Iterable[str]] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., recovering: bool = ..., secret: _Optional[bytes] = ..., client_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., acked_sequence: _Optional[int] = ..., resource: _Optional[_Mapping[str, str]] = ..., spans_by_service: bool = ..., otlp_target: _Optional[_Union[_trace_pb2.OtlpTarget, _Mapping]] = ..., logs_by_service: bool = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("resume_after", "max_batch_bytes", "max_unacked_events", "lease", "reconnect_grace", "server_time", "otlp_endpoint", "limited_tags", "capabilities", "server_version", "max_frame_bytes", "verdicts", "otlp_target", "trace_url")
    RESUME_AFTER_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_UNACKED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_GRACE_FIELD_NUMBER: _ClassVar[int]
    SERVER_TIME_FIELD_NUMBER: _ClassVar[int]
    OTLP_ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    LIMITED_TAGS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    OTLP_TARGET_FIELD_NUMBER: _ClassVar[int]
    TRACE_URL_FIELD_NUMBER: _ClassVar[int]
    resume_after: int
    max_batch_bytes: int
    max_unacked_events: int
    lease: _duration_pb2.Duration
    reconnect_grace: _duration_pb2.Duration
    server_time: _timestamp_pb2.Timestamp
    otlp_endpoint: str
    limited_tags: _containers.RepeatedScalarFieldContainer[str]
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    server_version: str
    max_frame_bytes: int
    verdicts: _containers.RepeatedCompositeFieldContainer[_verdict_pb2.Verdict]
    otlp_target: _trace_pb2.OtlpTarget
    trace_url: str
    def __init__(self, resume_after: _Optional[int] = ..., max_batch_bytes: _Optional[int] = ..., max_unacked_events: _Optional[int] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reconnect_grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., server_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., otlp_endpoint: _Optional[str] = ..., limited_tags: _Optional[_Iterable[str]] = ..., capabilities: _Optional[_Iterable[str]] = ..., server_version: _Optional[str] = ..., max_frame_bytes: _Optional[int] = ..., verdicts: _Optional[_Iterable[_Union[_verdict_pb2.Verdict, _Mapping]]] = ..., otlp_target: _Optional[_Union[_trace_pb2.OtlpTarget, _Mapping]] = ..., trace_url: _Optional[str] = ...) -> None: ...

class RunCreated(_message.Message):
    __slots__ = ("run_id", "kind", "function_name", "run_name", "parent_run_id", "root_run_id", "flow_run_id", "state", "tags", "parameters", "trace", "version", "description", "max_attempts", "inputs", "code", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_NAME_FIELD_NUMBER: _ClassVar[int]
    RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ROOT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FLOW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    kind: RunKind
    function_name: str
    run_name: str
    parent_run_id: str
    root_run_id: str
    flow_run_id: str
    state: _state_pb2.State
    tags: _containers.RepeatedScalarFieldContainer[str]
    parameters: _payload_pb2.Payload
    trace: _trace_pb2.TraceContext
    version: str
    description: str
    max_attempts: int
    inputs: _containers.RepeatedCompositeFieldContainer[_run_input_pb2.RunInput]
    code: _code_location_pb2.CodeLocation
    labels: _containers.ScalarMap[str, str]
    def __init__(self, run_id: _Optional[str] = ..., kind: _Optional[_Union[RunKind, str]] = ..., function_name: _Optional[str] = ..., run_name: _Optional[str] = ..., parent_run_id: _Optional[str] = ..., root_run_id: _Optional[str] = ..., flow_run_id: _Optional[str] = ..., state: _Optional[_Union[_state_pb2.State, _Mapping]] = ..., tags: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., trace: _Optional[_Union[_trace_pb2.TraceContext, _Mapping]] = ..., version: _Optional[str] = ..., description: _Optional[str] = ..., max_attempts: _Optional[int] = ..., inputs: _Optional[_Iterable[_Union[_run_input_pb2.RunInput, _Mapping]]] = ..., code: _Optional[_Union[_code_location_pb2.CodeLocation, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RunCompleted(_message.Message):
    __slots__ = ("created", "start_time", "ended")
    CREATED_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    created: RunCreated
    start_time: _timestamp_pb2.Timestamp
    ended: _state_pb2.State
    def __init__(self, created: _Optional[_Union[RunCreated, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended: _Optional[_Union[_state_pb2.State, _Mapping]] = ...) -> None: ...

class StateEntered(_message.Message):
    __slots__ = ("run_id", "attempt", "state")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    state: _state_pb2.State
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., state: _Optional[_Union[_state_pb2.State, _Mapping]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("run_created", "state_entered", "log", "artifact_created", "artifact_changed", "run_completed")
    RUN_CREATED_FIELD_NUMBER: _ClassVar[int]
    STATE_ENTERED_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_CREATED_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_CHANGED_FIELD_NUMBER: _ClassVar[int]
    RUN_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    run_created: RunCreated
    state_entered: StateEntered
    log: _log_pb2.LogRecord
    artifact_created: _artifact_pb2.Artifact
    artifact_changed: _artifact_pb2.ArtifactChange
    run_completed: RunCompleted
    def __init__(self, run_created: _Optional[_Union[RunCreated, _Mapping]] = ..., state_entered: _Optional[_Union[StateEntered, _Mapping]] = ..., log: _Optional[_Union[_log_pb2.LogRecord, _Mapping]] = ..., artifact_created: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., artifact_changed: _Optional[_Union[_artifact_pb2.ArtifactChange, _Mapping]] = ..., run_completed: _Optional[_Union[RunCompleted, _Mapping]] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("first_sequence", "events")
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    first_sequence: int
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, first_sequence: _Optional[int] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Ack(_message.Message):
    __slots__ = ("up_to_sequence", "verdicts")
    UP_TO_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    up_to_sequence: int
    verdicts: _containers.RepeatedCompositeFieldContainer[_verdict_pb2.Verdict]
    def __init__(self, up_to_sequence: _Optional[int] = ..., verdicts: _Optional[_Iterable[_Union[_verdict_pb2.Verdict, _Mapping]]] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("id", "cancel_run", "drain")
    ID_FIELD_NUMBER: _ClassVar[int]
    CANCEL_RUN_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    id: str
    cancel_run: CancelRun
    drain: Drain
    def __init__(self, id: _Optional[str] = ..., cancel_run: _Optional[_Union[CancelRun, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ...) -> None: ...

class CancelRun(_message.Message):
    __slots__ = ("run_id", "reason")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    reason: str
    def __init__(self, run_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
