"""Reading one snapshot from the disk: the asynchronous end of the container."""

from __future__ import annotations

from zlib import crc32

import trio

from trioraft.raft.errors import CorruptionError
from trioraft.storage.filesystem import File, storage_error
from trioraft.storage.writer import DiskWriter

from .container import BLOCK_BYTES, MAGIC, Contents

__all__ = ["FileSnapshotReader"]


class FileSnapshotReader:
    """A `SnapshotReader`. Every block is checked before any byte of it is handed out."""

    def __init__(self, writer: DiskWriter, file: File, path: str, contents: Contents) -> None:
        self.meta = contents.meta
        self._writer = writer
        self._file = file
        self._path = path
        self._checksums = contents.checksums
        self._block = b""  # the last one read
        self._block_number = -1
        self._select(0)

    async def open_file(self, name: str, offset: int = 0) -> None:
        """See `SnapshotReader.open_file`."""
        await trio.lowlevel.checkpoint()
        for place, file in enumerate(self.meta.files):
            if file.name == name:
                if not 0 <= offset <= file.size:
                    raise ValueError(f"{name} has {file.size} bytes, there is no byte {offset}")
                self._select(place)
                self._offset = offset
                return
        raise KeyError(name)

    async def read(self, max_bytes: int = 1 << 20) -> bytes:
        """See `SnapshotReader.read`. Cancelling loses nothing that was not returned."""
        if max_bytes < 1:
            raise ValueError(f"max_bytes is {max_bytes}; it must be at least 1")
        if self._offset == self._file_meta.size:
            await trio.lowlevel.checkpoint()
            return b""
        number = self._first_block + self._offset // BLOCK_BYTES
        if number != self._block_number:
            await self._load(number)
        else:
            await trio.lowlevel.checkpoint()
        inside = self._offset % BLOCK_BYTES
        data = self._block
        if inside or max_bytes < len(data):
            data = data[inside : inside + max_bytes]
        self._offset += len(data)
        return data

    def _select(self, place: int) -> None:
        files = self.meta.files
        self._file_meta = files[place]
        self._offset = 0
        self._start = len(MAGIC) + sum(file.size for file in files[:place])
        self._first_block = sum(-(-file.size // BLOCK_BYTES) for file in files[:place])

    async def _load(self, number: int) -> None:
        file_offset = self._offset - self._offset % BLOCK_BYTES
        size = min(BLOCK_BYTES, self._file_meta.size - file_offset)
        place = self._start + file_offset

        def read_and_check() -> bytes:
            block = self._file.read(size, place)
            if len(block) < size:
                raise CorruptionError(self._path, place, "the file is too short")
            if crc32(block) != self._checksums[number]:
                name = self._file_meta.name
                reason = f"checksum mismatch in {name!r} from its byte {file_offset} on"
                raise CorruptionError(self._path, place, reason)
            return block

        try:
            self._block = await self._writer.run(read_and_check)
        except OSError as error:
            raise storage_error("read", self._path, error) from error
        self._block_number = number
