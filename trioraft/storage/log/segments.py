"""The files of one group's log, as the writer thread sees them.

Only the writer thread calls `LogFiles`, and its helpers `sync` while it waits for them; the event
loop decides beforehand what goes where (the checksums depend on it). One failed operation ends the
log for good: after a failed write or sync nobody knows what the disk holds, so nothing is retried.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from trioraft.raft.errors import StorageError
from trioraft.storage.filesystem import File, FileSystem, storage_error, write_aside
from trioraft.storage.handles import HandleCache
from trioraft.storage.settings import StorageSettings

from .record import MARK_SIZE, SEAL_SIZE, encode_mark, encode_seal

__all__ = [
    "SEALING_SIZE",
    "ActiveFile",
    "LogFiles",
    "NewSegment",
    "encode_sealing",
    "segment_name",
    "segment_number",
]

SEALING_SIZE = MARK_SIZE + SEAL_SIZE

_SUFFIX = ".log"
_DIGITS = 16
_FIRST_RESERVE = 16 << 10  # bytes


def segment_name(number: int) -> str:
    return f"{number:0{_DIGITS}d}{_SUFFIX}"


def segment_number(name: str) -> int | None:
    """The number in a segment's file name, None if it is another file."""
    stem = name.removesuffix(_SUFFIX)
    if stem == name or len(stem) != _DIGITS or not (stem.isascii() and stem.isdigit()):
        return None
    return int(stem)


def encode_sealing(successor: int, salt: int, offset: int) -> bytes:
    """What ends a file at `offset`: a mark that vouches for all of it, and the seal."""
    mark = encode_mark(offset, salt, offset)
    return mark + encode_seal(successor, salt, offset + len(mark))


class ActiveFile(NamedTuple):
    """The file that a log goes on in; all of it is durable."""

    number: int
    salt: int
    end: int


class NewSegment(NamedTuple):
    """The file to begin before a write."""

    number: int
    salt: int
    header: bytes


class LogFiles:
    """The file that is being appended to. A `Syncable` for the writer, `Restable` for handles."""

    def __init__(
        self,
        filesystem: FileSystem,
        folder: str,
        active: ActiveFile,
        settings: StorageSettings,
        handles: HandleCache,
    ) -> None:
        self._filesystem = filesystem
        self._folder = folder
        self._number, self._salt, self._end = active
        self._path = f"{folder}/{segment_name(self._number)}"
        self._file: File | None = None
        self._handles = handles
        self._synced = self._end
        self._reserved = self._end  # where the file ends, with space reserved for what comes
        self._preallocate = settings.preallocate_bytes
        self._always = settings.fsync.interval == 0
        self._failure: StorageError | None = None

    def append(self, parts: list[bytes], at: int, begin: NewSegment | None = None) -> LogFiles:
        """Write the records in `parts` at offset `at`; parts[0] is the place of the mark.

        Begins a new file first if told so. Raises StorageError, now and ever after.
        """
        self._refuse_after_failure()
        try:
            if begin is not None:
                self._roll(begin)
            if at != self._end:
                raise OSError(f"the file ends at {self._end}, but the write is for {at}")
            parts[0] = encode_mark(self._synced, self._salt, self._end)
            data = b"".join(parts)
            file = self._handle()
            self._reserve(file, self._end + len(data))
            file.write(data, self._end)
        except OSError as error:
            raise self._fail("write", error) from error
        self._end += len(data)
        return self

    def sync(self) -> None:
        """What the fsync policy asks for after a write. Raises StorageError, now and ever after."""
        self._refuse_after_failure()
        if self._always:
            self._make_durable()

    def flush(self) -> None:
        """Make everything appended durable, whatever the policy says. Raises as `sync`."""
        self._refuse_after_failure()
        self._make_durable()

    def rest(self) -> None:
        """Close the file until the next write. A failure is told by the next `sync`."""
        with suppress(StorageError):  # kept, for everybody whose write it concerns
            if self._failure is None:
                self._make_durable()
        try:
            self._close_file()
        except OSError as error:
            self._fail("close", error)

    def close(self) -> None:
        """Leave a mark that everything is durable, so that later damage is told from a crash.

        Raises StorageError if that fails; the file is closed in any case.
        """
        try:
            if self._failure is None:
                self._make_durable()
                self.append([b""], self._end)
                self._trim(self._handle())
                self._make_durable()
        finally:
            self._handles.forget(self)
            self._close_file()

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete files, oldest first, each durably before the next, so that no gap can appear.

        Raises StorageError, now and ever after.
        """
        self.flush()
        try:
            for number in numbers:
                self._filesystem.unlink(f"{self._folder}/{segment_name(number)}")
                self._filesystem.sync_directory(self._folder)
        except OSError as error:
            raise self._fail("delete old files beside", error) from error

    def _roll(self, begin: NewSegment) -> None:
        # The old file is durable before the new one exists, and the new one appears whole: so
        # damage in any file but the last, or in a file's header, cannot come from a crash. The
        # seal comes before anything is written to the new one: so if the new one is lost with
        # what was acknowledged in it, the old one tells.
        old = self._handle()
        self._trim(old)
        old.datasync()
        path = f"{self._folder}/{segment_name(begin.number)}"
        write_aside(self._filesystem, path, begin.header)
        old.write(encode_sealing(begin.number, self._salt, self._end), self._end)
        old.datasync()
        self._close_file()
        self._number, self._path, self._salt = begin.number, path, begin.salt
        self._end = self._synced = self._reserved = len(begin.header)

    def _handle(self) -> File:
        self._handles.used(self)
        if self._file is None:
            self._file = self._filesystem.open(self._path)
        return self._file

    def _close_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _make_durable(self) -> None:
        if self._synced == self._end:
            return  # a new file was begun after the last write, or nothing was written at all
        try:
            # Open since the write: asking the cache of handles is for the writer thread alone.
            file = self._file if self._file is not None else self._handle()
            file.datasync()
        except OSError as error:
            raise self._fail("sync", error) from error
        self._synced = self._end

    def _reserve(self, file: File, end: int) -> None:
        # A write that does not change the file's length is quicker to sync: its length and
        # blocks need no journal entry each time. A group that writes little reserves little.
        if end <= self._reserved or not self._preallocate:
            return
        target = end + min(max(end, _FIRST_RESERVE), self._preallocate)
        try:
            file.allocate(self._reserved, target - self._reserved)
        except OSError:
            self._preallocate = 0  # only a help: whether there is room, the write itself finds out
        else:
            self._reserved = target

    def _trim(self, file: File) -> None:
        try:
            if file.size() != self._end:
                file.truncate(self._end)
        except OSError as error:
            raise self._fail("cut the reserve of", error) from error

    def _refuse_after_failure(self) -> None:
        if self._failure is not None:
            raise StorageError(f"the log stopped at an earlier failure: {self._failure}")

    def _fail(self, action: str, error: OSError) -> StorageError:
        self._failure = storage_error(action, self._path, error)
        return self._failure
