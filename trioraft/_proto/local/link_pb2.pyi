from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LinkRequest(_message.Message):
    __slots__ = ("node_id", "appends", "rests", "votes")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    APPENDS_FIELD_NUMBER: _ClassVar[int]
    RESTS_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    appends: _containers.RepeatedCompositeFieldContainer[GroupAppend]
    rests: _containers.RepeatedCompositeFieldContainer[GroupRest]
    votes: _containers.RepeatedCompositeFieldContainer[GroupVote]
    def __init__(self, node_id: _Optional[str] = ..., appends: _Optional[_Iterable[_Union[GroupAppend, _Mapping]]] = ..., rests: _Optional[_Iterable[_Union[GroupRest, _Mapping]]] = ..., votes: _Optional[_Iterable[_Union[GroupVote, _Mapping]]] = ...) -> None: ...

class LinkReply(_message.Message):
    __slots__ = ("appends", "rests", "votes")
    APPENDS_FIELD_NUMBER: _ClassVar[int]
    RESTS_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    appends: _containers.RepeatedCompositeFieldContainer[GroupAppendReply]
    rests: _containers.RepeatedCompositeFieldContainer[GroupRestReply]
    votes: _containers.RepeatedCompositeFieldContainer[GroupVoteReply]
    def __init__(self, appends: _Optional[_Iterable[_Union[GroupAppendReply, _Mapping]]] = ..., rests: _Optional[_Iterable[_Union[GroupRestReply, _Mapping]]] = ..., votes: _Optional[_Iterable[_Union[GroupVoteReply, _Mapping]]] = ...) -> None: ...

class GroupAppend(_message.Message):
    __slots__ = ("group_id", "term", "prev_index", "prev_term", "commit", "round", "number", "entries")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    PREV_INDEX_FIELD_NUMBER: _ClassVar[int]
    PREV_TERM_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    term: bytes
    prev_index: int
    prev_term: bytes
    commit: int
    round: int
    number: int
    entries: _containers.RepeatedCompositeFieldContainer[GroupEntry]
    def __init__(self, group_id: _Optional[bytes] = ..., term: _Optional[bytes] = ..., prev_index: _Optional[int] = ..., prev_term: _Optional[bytes] = ..., commit: _Optional[int] = ..., round: _Optional[int] = ..., number: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[GroupEntry, _Mapping]]] = ...) -> None: ...

class GroupEntry(_message.Message):
    __slots__ = ("term", "kind", "data", "session")
    TERM_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    term: bytes
    kind: int
    data: bytes
    session: GroupSession
    def __init__(self, term: _Optional[bytes] = ..., kind: _Optional[int] = ..., data: _Optional[bytes] = ..., session: _Optional[_Union[GroupSession, _Mapping]] = ...) -> None: ...

class GroupSession(_message.Message):
    __slots__ = ("client_id", "call_id")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    client_id: bytes
    call_id: int
    def __init__(self, client_id: _Optional[bytes] = ..., call_id: _Optional[int] = ...) -> None: ...

class GroupAppendReply(_message.Message):
    __slots__ = ("group_id", "term", "success", "match_index", "rejected_prev", "hint_index", "hint_term", "commit", "round", "refused", "number")
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
    NUMBER_FIELD_NUMBER: _ClassVar[int]
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
    number: int
    def __init__(self, group_id: _Optional[bytes] = ..., term: _Optional[bytes] = ..., success: _Optional[bool] = ..., match_index: _Optional[int] = ..., rejected_prev: _Optional[int] = ..., hint_index: _Optional[int] = ..., hint_term: _Optional[bytes] = ..., commit: _Optional[int] = ..., round: _Optional[int] = ..., refused: _Optional[bool] = ..., number: _Optional[int] = ...) -> None: ...

class GroupVote(_message.Message):
    __slots__ = ("group_id", "number", "term", "last_index", "last_term", "pre", "transfer")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    LAST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_TERM_FIELD_NUMBER: _ClassVar[int]
    PRE_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    number: int
    term: bytes
    last_index: int
    last_term: bytes
    pre: bool
    transfer: bool
    def __init__(self, group_id: _Optional[bytes] = ..., number: _Optional[int] = ..., term: _Optional[bytes] = ..., last_index: _Optional[int] = ..., last_term: _Optional[bytes] = ..., pre: _Optional[bool] = ..., transfer: _Optional[bool] = ...) -> None: ...

class GroupVoteReply(_message.Message):
    __slots__ = ("number", "term", "granted", "leader_id", "last_index", "last_term", "shutdown", "refused")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_TERM_FIELD_NUMBER: _ClassVar[int]
    SHUTDOWN_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    number: int
    term: bytes
    granted: bool
    leader_id: str
    last_index: int
    last_term: bytes
    shutdown: bool
    refused: str
    def __init__(self, number: _Optional[int] = ..., term: _Optional[bytes] = ..., granted: _Optional[bool] = ..., leader_id: _Optional[str] = ..., last_index: _Optional[int] = ..., last_term: _Optional[bytes] = ..., shutdown: _Optional[bool] = ..., refused: _Optional[str] = ...) -> None: ...

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
