from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChangeMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SET: _ClassVar[ChangeMode]
    ADD: _ClassVar[ChangeMode]
    COMPARE_AND_SET: _ClassVar[ChangeMode]
    REMOVE: _ClassVar[ChangeMode]
    PROMOTE: _ClassVar[ChangeMode]
    DEMOTE: _ClassVar[ChangeMode]
    UPDATE: _ClassVar[ChangeMode]
SET: ChangeMode
ADD: ChangeMode
COMPARE_AND_SET: ChangeMode
REMOVE: ChangeMode
PROMOTE: ChangeMode
DEMOTE: ChangeMode
UPDATE: ChangeMode

class Member(_message.Message):
    __slots__ = ("node_id", "address", "priority")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    address: str
    priority: int
    def __init__(self, node_id: _Optional[str] = ..., address: _Optional[str] = ..., priority: _Optional[int] = ...) -> None: ...

class ChangeMembershipRequest(_message.Message):
    __slots__ = ("group_id", "mode", "voters", "learners", "node_ids", "expected_voters", "expected_learners", "forwarded", "members")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_FIELD_NUMBER: _ClassVar[int]
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VOTERS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_LEARNERS_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    mode: ChangeMode
    voters: _containers.RepeatedCompositeFieldContainer[Member]
    learners: _containers.RepeatedCompositeFieldContainer[Member]
    node_ids: _containers.RepeatedScalarFieldContainer[str]
    expected_voters: _containers.RepeatedScalarFieldContainer[str]
    expected_learners: _containers.RepeatedScalarFieldContainer[str]
    forwarded: bool
    members: _containers.RepeatedCompositeFieldContainer[Member]
    def __init__(self, group_id: _Optional[bytes] = ..., mode: _Optional[_Union[ChangeMode, str]] = ..., voters: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., learners: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., node_ids: _Optional[_Iterable[str]] = ..., expected_voters: _Optional[_Iterable[str]] = ..., expected_learners: _Optional[_Iterable[str]] = ..., forwarded: _Optional[bool] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ...) -> None: ...

class ChangeMembershipReply(_message.Message):
    __slots__ = ("voters", "learners")
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_FIELD_NUMBER: _ClassVar[int]
    voters: _containers.RepeatedCompositeFieldContainer[Member]
    learners: _containers.RepeatedCompositeFieldContainer[Member]
    def __init__(self, voters: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., learners: _Optional[_Iterable[_Union[Member, _Mapping]]] = ...) -> None: ...

class TransferLeadershipRequest(_message.Message):
    __slots__ = ("group_id", "target", "forwarded")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    target: str
    forwarded: bool
    def __init__(self, group_id: _Optional[bytes] = ..., target: _Optional[str] = ..., forwarded: _Optional[bool] = ...) -> None: ...

class TransferLeadershipReply(_message.Message):
    __slots__ = ("leader_id",)
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    leader_id: str
    def __init__(self, leader_id: _Optional[str] = ...) -> None: ...

class TakeSnapshotRequest(_message.Message):
    __slots__ = ("group_id",)
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    def __init__(self, group_id: _Optional[bytes] = ...) -> None: ...

class TakeSnapshotReply(_message.Message):
    __slots__ = ("index", "size")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    index: int
    size: int
    def __init__(self, index: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class SetElectionsRequest(_message.Message):
    __slots__ = ("group_id", "paused")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    paused: bool
    def __init__(self, group_id: _Optional[bytes] = ..., paused: _Optional[bool] = ...) -> None: ...

class SetElectionsReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
