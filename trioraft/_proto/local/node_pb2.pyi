from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReplicationLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MAJORITY: _ClassVar[ReplicationLevel]
    ALL: _ClassVar[ReplicationLevel]
    MAJORITY_COMMITTED: _ClassVar[ReplicationLevel]
    ALL_COMMITTED: _ClassVar[ReplicationLevel]
MAJORITY: ReplicationLevel
ALL: ReplicationLevel
MAJORITY_COMMITTED: ReplicationLevel
ALL_COMMITTED: ReplicationLevel

class ProposeRequest(_message.Message):
    __slots__ = ("group_id", "data", "client_id", "call_id", "forwarded")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    data: bytes
    client_id: bytes
    call_id: int
    forwarded: bool
    def __init__(self, group_id: _Optional[bytes] = ..., data: _Optional[bytes] = ..., client_id: _Optional[bytes] = ..., call_id: _Optional[int] = ..., forwarded: _Optional[bool] = ...) -> None: ...

class ProposeReply(_message.Message):
    __slots__ = ("data", "index")
    DATA_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    index: int
    def __init__(self, data: _Optional[bytes] = ..., index: _Optional[int] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("group_id", "data", "stale", "min_entries")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    MIN_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    data: bytes
    stale: bool
    min_entries: int
    def __init__(self, group_id: _Optional[bytes] = ..., data: _Optional[bytes] = ..., stale: _Optional[bool] = ..., min_entries: _Optional[int] = ...) -> None: ...

class QueryReply(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class OpenSessionRequest(_message.Message):
    __slots__ = ("group_id",)
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    def __init__(self, group_id: _Optional[bytes] = ...) -> None: ...

class OpenSessionReply(_message.Message):
    __slots__ = ("birth",)
    BIRTH_FIELD_NUMBER: _ClassVar[int]
    birth: int
    def __init__(self, birth: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("group_id", "index", "level", "forwarded")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    index: int
    level: ReplicationLevel
    forwarded: bool
    def __init__(self, group_id: _Optional[bytes] = ..., index: _Optional[int] = ..., level: _Optional[_Union[ReplicationLevel, str]] = ..., forwarded: _Optional[bool] = ...) -> None: ...

class WatchReply(_message.Message):
    __slots__ = ("index",)
    INDEX_FIELD_NUMBER: _ClassVar[int]
    index: int
    def __init__(self, index: _Optional[int] = ...) -> None: ...

class ReadIndexRequest(_message.Message):
    __slots__ = ("group_id",)
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    def __init__(self, group_id: _Optional[bytes] = ...) -> None: ...

class ReadIndexReply(_message.Message):
    __slots__ = ("index",)
    INDEX_FIELD_NUMBER: _ClassVar[int]
    index: int
    def __init__(self, index: _Optional[int] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("node_id", "cluster", "version", "wire", "address", "groups")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WIRE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    cluster: str
    version: str
    wire: str
    address: str
    groups: _containers.RepeatedCompositeFieldContainer[GroupStatus]
    def __init__(self, node_id: _Optional[str] = ..., cluster: _Optional[str] = ..., version: _Optional[str] = ..., wire: _Optional[str] = ..., address: _Optional[str] = ..., groups: _Optional[_Iterable[_Union[GroupStatus, _Mapping]]] = ...) -> None: ...

class GroupStatus(_message.Message):
    __slots__ = ("group_id", "role", "term", "leader_id", "last_index", "commit_index", "applied_index", "bytes_on_disk", "members", "machine", "failure", "snapshot_index", "elections_paused", "name", "resting")
    class MachineEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_INDEX_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    APPLIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    BYTES_ON_DISK_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_INDEX_FIELD_NUMBER: _ClassVar[int]
    ELECTIONS_PAUSED_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESTING_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    role: str
    term: str
    leader_id: str
    last_index: int
    commit_index: int
    applied_index: int
    bytes_on_disk: int
    members: _containers.RepeatedCompositeFieldContainer[MemberStatus]
    machine: _containers.ScalarMap[str, str]
    failure: str
    snapshot_index: int
    elections_paused: bool
    name: str
    resting: bool
    def __init__(self, group_id: _Optional[bytes] = ..., role: _Optional[str] = ..., term: _Optional[str] = ..., leader_id: _Optional[str] = ..., last_index: _Optional[int] = ..., commit_index: _Optional[int] = ..., applied_index: _Optional[int] = ..., bytes_on_disk: _Optional[int] = ..., members: _Optional[_Iterable[_Union[MemberStatus, _Mapping]]] = ..., machine: _Optional[_Mapping[str, str]] = ..., failure: _Optional[str] = ..., snapshot_index: _Optional[int] = ..., elections_paused: _Optional[bool] = ..., name: _Optional[str] = ..., resting: _Optional[bool] = ...) -> None: ...

class MemberStatus(_message.Message):
    __slots__ = ("node_id", "address", "voter", "match_index", "part", "priority")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VOTER_FIELD_NUMBER: _ClassVar[int]
    MATCH_INDEX_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    address: str
    voter: bool
    match_index: int
    part: str
    priority: int
    def __init__(self, node_id: _Optional[str] = ..., address: _Optional[str] = ..., voter: _Optional[bool] = ..., match_index: _Optional[int] = ..., part: _Optional[str] = ..., priority: _Optional[int] = ...) -> None: ...
