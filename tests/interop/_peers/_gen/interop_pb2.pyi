from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Instruction(_message.Message):
    __slots__ = ("payload", "call_id", "reply_count", "reply_size", "wait", "status", "status_message", "trailer_size", "details")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    REPLY_COUNT_FIELD_NUMBER: _ClassVar[int]
    REPLY_SIZE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STATUS_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TRAILER_SIZE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    call_id: str
    reply_count: int
    reply_size: int
    wait: float
    status: int
    status_message: str
    trailer_size: int
    details: bytes
    def __init__(self, payload: _Optional[bytes] = ..., call_id: _Optional[str] = ..., reply_count: _Optional[int] = ..., reply_size: _Optional[int] = ..., wait: _Optional[float] = ..., status: _Optional[int] = ..., status_message: _Optional[str] = ..., trailer_size: _Optional[int] = ..., details: _Optional[bytes] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("payload", "time_remaining", "received")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    TIME_REMAINING_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    time_remaining: float
    received: int
    def __init__(self, payload: _Optional[bytes] = ..., time_remaining: _Optional[float] = ..., received: _Optional[int] = ...) -> None: ...
