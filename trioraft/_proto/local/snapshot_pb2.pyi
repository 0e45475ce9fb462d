from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SnapshotRequest(_message.Message):
    __slots__ = ("header", "data", "checksum")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    header: SnapshotHeader
    data: bytes
    checksum: int
    def __init__(self, header: _Optional[_Union[SnapshotHeader, _Mapping]] = ..., data: _Optional[bytes] = ..., checksum: _Optional[int] = ...) -> None: ...

class SnapshotHeader(_message.Message):
    __slots__ = ("group_id", "term", "leader", "index", "index_term", "configuration", "configuration_index", "files", "notice")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INDEX_TERM_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    group_id: bytes
    term: bytes
    leader: str
    index: int
    index_term: bytes
    configuration: bytes
    configuration_index: int
    files: _containers.RepeatedCompositeFieldContainer[SnapshotFile]
    notice: bool
    def __init__(self, group_id: _Optional[bytes] = ..., term: _Optional[bytes] = ..., leader: _Optional[str] = ..., index: _Optional[int] = ..., index_term: _Optional[bytes] = ..., configuration: _Optional[bytes] = ..., configuration_index: _Optional[int] = ..., files: _Optional[_Iterable[_Union[SnapshotFile, _Mapping]]] = ..., notice: _Optional[bool] = ...) -> None: ...

class SnapshotFile(_message.Message):
    __slots__ = ("name", "size", "checksum")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    checksum: int
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., checksum: _Optional[int] = ...) -> None: ...

class SnapshotReply(_message.Message):
    __slots__ = ("resume", "outcome")
    RESUME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    resume: SnapshotPosition
    outcome: SnapshotOutcome
    def __init__(self, resume: _Optional[_Union[SnapshotPosition, _Mapping]] = ..., outcome: _Optional[_Union[SnapshotOutcome, _Mapping]] = ...) -> None: ...

class SnapshotPosition(_message.Message):
    __slots__ = ("files", "offset")
    FILES_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    files: int
    offset: int
    def __init__(self, files: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class SnapshotOutcome(_message.Message):
    __slots__ = ("term", "success", "index")
    TERM_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    term: bytes
    success: bool
    index: int
    def __init__(self, term: _Optional[bytes] = ..., success: _Optional[bool] = ..., index: _Optional[int] = ...) -> None: ...
