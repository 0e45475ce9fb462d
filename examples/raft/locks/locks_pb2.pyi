from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Acquire(_message.Message):
    __slots__ = ("lock", "owner", "seconds")
    LOCK_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    lock: str
    owner: str
    seconds: int
    def __init__(self, lock: _Optional[str] = ..., owner: _Optional[str] = ..., seconds: _Optional[int] = ...) -> None: ...

class Holder(_message.Message):
    __slots__ = ("owner", "token")
    OWNER_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    owner: str
    token: int
    def __init__(self, owner: _Optional[str] = ..., token: _Optional[int] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("lock", "token")
    LOCK_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    lock: str
    token: int
    def __init__(self, lock: _Optional[str] = ..., token: _Optional[int] = ...) -> None: ...

class Released(_message.Message):
    __slots__ = ("was_held",)
    WAS_HELD_FIELD_NUMBER: _ClassVar[int]
    was_held: bool
    def __init__(self, was_held: _Optional[bool] = ...) -> None: ...

class Look(_message.Message):
    __slots__ = ("lock",)
    LOCK_FIELD_NUMBER: _ClassVar[int]
    lock: str
    def __init__(self, lock: _Optional[str] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("now_ms", "acquire", "release", "look")
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    ACQUIRE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    LOOK_FIELD_NUMBER: _ClassVar[int]
    now_ms: int
    acquire: Acquire
    release: Release
    look: Look
    def __init__(self, now_ms: _Optional[int] = ..., acquire: _Optional[_Union[Acquire, _Mapping]] = ..., release: _Optional[_Union[Release, _Mapping]] = ..., look: _Optional[_Union[Look, _Mapping]] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ("now_ms", "locks")
    class Lock(_message.Message):
        __slots__ = ("holder", "until_ms")
        HOLDER_FIELD_NUMBER: _ClassVar[int]
        UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
        holder: Holder
        until_ms: int
        def __init__(self, holder: _Optional[_Union[Holder, _Mapping]] = ..., until_ms: _Optional[int] = ...) -> None: ...
    class LocksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: State.Lock
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[State.Lock, _Mapping]] = ...) -> None: ...
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    LOCKS_FIELD_NUMBER: _ClassVar[int]
    now_ms: int
    locks: _containers.MessageMap[str, State.Lock]
    def __init__(self, now_ms: _Optional[int] = ..., locks: _Optional[_Mapping[str, State.Lock]] = ...) -> None: ...
