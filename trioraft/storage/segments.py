"""The files of one group's log, as the writer thread sees them.

Only the writer thread calls `append`, `sync` and `close`; the event loop decides beforehand
what goes where (the checksums depend on it). One failed operation ends the log for good: after
a failed write or sync nobody knows what the disk holds, so nothing is retried.
"""

from __future__ import annotations

from typing import NamedTuple

from trioraft.raft.errors import StorageError

from .filesystem import File, FileSystem, storage_error, write_aside
from .record import encode_mark

__all__ = ["LogFiles", "NewSegment", "segment_name", "segment_number"]

_SUFFIX = ".log"
_DIGITS = 16


def segment_name(number: int) -> str:
    return f"{number:0{_DIGITS}d}{_SUFFIX}"


def segment_number(name: str) -> int | None:
    """The number in a segment's file name, None if it is another file."""
    stem = name.removesuffix(_SUFFIX)
    if stem == name or len(stem) != _DIGITS or not (stem.isascii() and stem.isdigit()):
        return None
    return int(stem)


class NewSegment(NamedTuple):
    """The file to begin before a write."""

    number: int
    salt: int
    header: bytes


class LogFiles:
    """The file that is being appended to. A `Syncable` for the writer."""

    def __init__(
        self,
        filesystem: FileSystem,
        folder: str,
        number: int,
        salt: int,
        file: File,
        end: int,
        preallocate_bytes: int,
    ) -> None:
        self._filesystem = filesystem
        self._folder = folder
        self._salt = salt
        self._path = f"{folder}/{segment_name(number)}"
        self._file = file
        self._end = end
        self._synced = end
        self._reserved = end  # where the file ends, with space reserved for what comes
        self._preallocate = preallocate_bytes
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
            self._reserve(self._end + len(data))
            self._file.write(data, self._end)
        except OSError as error:
            raise self._fail("write", error) from error
        self._end += len(data)
        return self

    def sync(self) -> None:
        """Make everything appended durable. Raises StorageError, now and ever after."""
        self._refuse_after_failure()
        if self._synced == self._end:
            return  # a new file was begun after the last write, or nothing was written at all
        try:
            self._file.datasync()
        except OSError as error:
            raise self._fail("sync", error) from error
        self._synced = self._end

    def close(self) -> None:
        """Leave a mark that everything is durable, so that later damage is told from a crash.

        Raises StorageError if that fails; the file is closed in any case.
        """
        try:
            if self._failure is None:
                self.append([b""], self._end)
                self._trim()
                self.sync()
        finally:
            self._file.close()

    def delete(self, numbers: list[int]) -> None:
        """Delete files, oldest first, each durably before the next, so that no gap can appear.

        Raises StorageError, now and ever after.
        """
        self._refuse_after_failure()
        try:
            for number in numbers:
                self._filesystem.unlink(f"{self._folder}/{segment_name(number)}")
                self._filesystem.sync_directory(self._folder)
        except OSError as error:
            raise self._fail("delete old files beside", error) from error

    def _roll(self, begin: NewSegment) -> None:
        # The old file is durable before the new one exists, and the new one appears whole: so
        # damage in any file but the last, or in a file's header, cannot come from a crash.
        self._trim()
        self._file.datasync()
        path = f"{self._folder}/{segment_name(begin.number)}"
        write_aside(self._filesystem, path, begin.header)
        file = self._filesystem.open(path)
        self._file.close()
        self._file, self._path, self._salt = file, path, begin.salt
        self._end = self._synced = self._reserved = len(begin.header)

    def _reserve(self, end: int) -> None:
        # A write that does not change the file's length is quicker to sync: its length and
        # blocks need no journal entry each time.
        if end <= self._reserved or not self._preallocate:
            return
        try:
            self._file.allocate(self._reserved, end + self._preallocate - self._reserved)
        except OSError:
            self._preallocate = 0  # only a help: whether there is room, the write itself finds out
        else:
            self._reserved = end + self._preallocate

    def _trim(self) -> None:
        try:
            if self._file.size() != self._end:
                self._file.truncate(self._end)
        except OSError as error:
            raise self._fail("cut the reserve of", error) from error

    def _refuse_after_failure(self) -> None:
        if self._failure is not None:
            raise StorageError(f"the log stopped at an earlier failure: {self._failure}")

    def _fail(self, action: str, error: OSError) -> StorageError:
        self._failure = storage_error(action, self._path, error)
        return self._failure
