"""The store as a stream of bytes: snapshots, and the hash that compares replicas.

Format 1, all numbers big endian:

    magic "raft-kv" and the format's number (8 bytes)
    revision, compact revision (int64), number of keys (uint64)
    per key, in order:
        length of the key, number of versions (uint32), the key
        per version, oldest first:
            mod revision (int64), sub (uint32), create revision, version number, lease (int64),
            length of the value (uint32), the value
    CRC-32 of everything before it (uint32)

It keeps all history from the compact revision on, so a restored replica answers reads in the past.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from zlib import crc32

from trioraft.raft.errors import CorruptionError

from .index import Version
from .steps import KEYS_PER_STEP, Steps
from .store import Store

__all__ = ["CHUNK_SIZE", "SnapshotDecoder", "StoreEncoder", "hash_store"]

CHUNK_SIZE = 1 << 18
"""A snapshot is written in chunks of about this many bytes; one value more at most."""

_NAME = "key-value snapshot"
_MAGIC = b"raft-kv\x01"
_HEADER = struct.Struct(">8sqqQ")
_KEY = struct.Struct(">II")
_VERSION = struct.Struct(">qIqqqI")
_CHECKSUM = struct.Struct(">I")


def _pack_version(version: Version) -> bytes:
    mod, sub, create, number, value, lease = version
    return _VERSION.pack(mod, sub, create, number, lease, len(value)) + value


class StoreEncoder:
    """Takes a store apart into bytes, in the order of the format."""

    def __init__(self) -> None:
        self._chunk = bytearray()
        self._checksum = 0

    @property
    def size(self) -> int:
        """Bytes that `take` would return."""
        return len(self._chunk)

    def header(self, revision: int, compact_revision: int, keys: int) -> None:
        self._chunk += _HEADER.pack(_MAGIC, revision, compact_revision, keys)

    def key(self, key: bytes, versions: int) -> None:
        self._chunk += _KEY.pack(len(key), versions)
        self._chunk += key

    def version(self, version: Version) -> None:
        self._chunk += _pack_version(version)

    def take(self) -> bytes:
        """What has been encoded since the last time."""
        chunk = bytes(self._chunk)
        self._chunk.clear()
        self._checksum = crc32(chunk, self._checksum)
        return chunk

    def end(self) -> bytes:
        """The rest, after everything."""
        chunk = self.take()
        return chunk + _CHECKSUM.pack(self._checksum)


def hash_store(store: Store, revision: int) -> Steps[int]:
    """A 32-bit hash of all versions up to `revision` that the store remembers.

    Replicas with the same compact revision have the same hash for a revision that both
    have reached. It is not the number that etcd computes from its file layout.
    """
    result = 0
    for place, key in enumerate(store.index.all_keys(), 1):
        kept = [version for version in store.index.history(key) if version.mod <= revision]
        if kept:
            result = crc32(_KEY.pack(len(key), len(kept)) + key, result)
        for version in kept:
            result = crc32(_pack_version(version), result)
        if place % KEYS_PER_STEP == 0:
            yield
    return result


class SnapshotDecoder:
    """Bytes in, a store out, with no I/O: `feed` pieces of any size, then `finish`.

    Both raise CorruptionError, with the offset in the snapshot, for bytes that `encode_store` did
    not write. Holds no more than one key or version that is not complete yet, plus one piece.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._offset = 0
        self._checksum = 0
        self._store: Store | None = None
        self._parser = self._parse()
        next(self._parser)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the snapshot."""
        if self._store is not None:
            if data:
                raise self._corrupt("bytes after the end")
            return
        self._checksum = crc32(memoryview(self._buffer)[: self._at], self._checksum)
        del self._buffer[: self._at]
        self._offset += self._at
        self._at = 0
        self._buffer += data
        try:
            self._parser.send(None)
        except StopIteration as stop:
            self._store = stop.value
            self.feed(bytes(self._buffer[self._at :]))

    def finish(self) -> Store:
        """The store, after the last piece."""
        if self._store is None:
            raise self._corrupt("it ends too early")
        return self._store

    def _corrupt(self, reason: str) -> CorruptionError:
        return CorruptionError(_NAME, self._offset + self._at, reason)

    def _take(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) - self._at < size:
            yield
        taken = bytes(self._buffer[self._at : self._at + size])
        self._at += size
        return taken

    def _parse(self) -> Generator[None, None, Store]:
        magic, revision, compact_revision, count = _HEADER.unpack(
            (yield from self._take(_HEADER.size))
        )
        if magic != _MAGIC:
            raise self._corrupt(f"it starts with {magic!r}, not {_MAGIC!r}")
        histories: dict[bytes, list[Version]] = {}
        for _ in range(count):
            key_size, versions = _KEY.unpack((yield from self._take(_KEY.size)))
            key = yield from self._take(key_size)
            if not versions or key in histories:
                raise self._corrupt(f"key {key[:40]!r} without versions, or for the second time")
            history = histories[key] = []
            for _ in range(versions):
                fields = _VERSION.unpack((yield from self._take(_VERSION.size)))
                mod, sub, create, number, lease, value_size = fields
                value = yield from self._take(value_size)
                history.append(Version(mod, sub, create, number, value, lease))
        checksum = crc32(memoryview(self._buffer)[: self._at], self._checksum)
        (expected,) = _CHECKSUM.unpack((yield from self._take(_CHECKSUM.size)))
        if checksum != expected:
            raise self._corrupt(f"checksum {checksum:08x}, written {expected:08x}")
        store = Store()
        store.revision, store.compact_revision = revision, compact_revision
        store.index.load(histories)
        return store
