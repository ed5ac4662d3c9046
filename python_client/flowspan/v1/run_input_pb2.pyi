from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class RunInput(_message.Message):
    __slots__ = ("run_id", "parameter")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    parameter: str
    def __init__(self, run_id: _Optional[str] = ..., parameter: _Optional[str] = ...) -> None: ...
