from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LinkRequest(_message.Message):
    __slots__ = ("node_id", "heartbeats", "rests")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    HEARTBEATS_FIELD_NUMBER: _ClassVar[int]
    RESTS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    heartbeats: _containers.RepeatedCompositeFieldContainer[GroupHeartbeat]
    rests: _containers.RepeatedCompositeFieldContainer[GroupRest]
    def __init__(self, node_id: _Optional[str] = ..., heartbeats: _Optional[_Iterable[_Union[GroupHeartbeat, _Mapping]]] = ..., rests: _Optional[_Iterable[_Union[GroupRest, _Mapping]]] = ...) -> None: ...

class LinkReply(_message.Message):
    __slots__ = ("heartbeats", "rests")
    HEARTBEATS_FIELD_NUMBER: _ClassVar[int]
    RESTS_FIELD_NUMBER: _ClassVar[int]
    heartbeats: _containers.RepeatedCompositeFieldContainer[GroupHeartbeatReply]
    rests: _containers.RepeatedCompositeFieldContainer[GroupRestReply]
    def __init__(self, heartbeats: _Optional[_Iterable[_Union[GroupHeartbeatReply, _Mapping]]] = ..., rests: _Optional[_Iterable[_Union[GroupRestReply, _Mapping]]] = ...) -> None: ...

class GroupHeartbeat(_message.Message):
    __slots__ = ("group_id", "term", "prev_index", "prev_term", "commit", "round")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    PREV_INDEX_FIELD_NUMBER: _ClassVar[int]
    PREV_TERM_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    term: bytes
    prev_index: int
    prev_term: bytes
    commit: int
    round: int
    def __init__(self, group_id: _Optional[bytes] = ..., term: _Optional[bytes] = ..., prev_index: _Optional[int] = ..., prev_term: _Optional[bytes] = ..., commit: _Optional[int] = ..., round: _Optional[int] = ...) -> None: ...

class GroupHeartbeatReply(_message.Message):
    __slots__ = ("group_id", "term", "success", "match_index", "rejected_prev", "hint_index", "hint_term", "commit", "round", "refused")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MATCH_INDEX_FIELD_NUMBER: _ClassVar[int]
    REJECTED_PREV_FIELD_NUMBER: _ClassVar[int]
    HINT_INDEX_FIELD_NUMBER: _ClassVar[int]
    HINT_TERM_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    term: bytes
    success: bool
    match_index: int
    rejected_prev: int
    hint_index: int
    hint_term: bytes
    commit: int
    round: int
    refused: bool
    def __init__(self, group_id: _Optional[bytes] = ..., term: _Optional[bytes] = ..., success: _Optional[bool] = ..., match_index: _Optional[int] = ..., rejected_prev: _Optional[int] = ..., hint_index: _Optional[int] = ..., hint_term: _Optional[bytes] = ..., commit: _Optional[int] = ..., round: _Optional[int] = ..., refused: _Optional[bool] = ...) -> None: ...

class GroupRest(_message.Message):
    __slots__ = ("group_id", "term", "last_index")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    LAST_INDEX_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    term: bytes
    last_index: int
    def __init__(self, group_id: _Optional[bytes] = ..., term: _Optional[bytes] = ..., last_index: _Optional[int] = ...) -> None: ...

class GroupRestReply(_message.Message):
    __slots__ = ("group_id", "term", "rests")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    RESTS_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    term: bytes
    rests: bool
    def __init__(self, group_id: _Optional[bytes] = ..., term: _Optional[bytes] = ..., rests: _Optional[bool] = ...) -> None: ...
