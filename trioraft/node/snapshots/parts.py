"""What a snapshot consists of: the state machine's files, and the runtime's own beside them.

The runtime's names begin with an underscore; a state machine neither sees nor makes those.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from trioraft.node.machine import StateMachine
from trioraft.node.session_codec import SESSIONS_FILE, SessionsCapture, decode_sessions
from trioraft.node.sessions import SessionTable
from trioraft.raft.errors import CorruptionError
from trioraft.raft.types import SnapshotFile, SnapshotMeta
from trioraft.storage.interface import SnapshotReader, SnapshotWriter
from trioraft.storage.snapshots.container import DATA_FILE, MAX_FILES, check_file_name

__all__ = [
    "DATA_FILE",
    "MAX_FILES",
    "MachineSink",
    "check_file_name",
    "is_runtime_file",
    "restore_parts",
    "write_runtime_file",
]

_MAX_MACHINE_FILES = 1000
_MAX_RUNTIME_FILE = 1 << 30  # bytes; it is read into memory


def is_runtime_file(name: str) -> bool:
    """Whether this file of a snapshot is the runtime's, not the state machine's."""
    return name.startswith("_")


class MachineSink:
    """The `SnapshotSink` of a state machine."""

    def __init__(self, writer: SnapshotWriter) -> None:
        self._writer = writer
        self._files = 0

    async def create_file(self, name: str) -> None:
        """See `SnapshotSink.create_file`."""
        if is_runtime_file(name):
            raise ValueError(f"{name!r}: names that begin with an underscore are the runtime's")
        if self._files >= _MAX_MACHINE_FILES:
            raise ValueError(f"a snapshot of more than {_MAX_MACHINE_FILES} files")
        await self._writer.create_file(name)
        self._files += 1

    async def write(self, data: bytes) -> None:
        """See `SnapshotSink.write`."""
        if not self._files:
            await self.create_file(DATA_FILE)
        await self._writer.write(data)

    async def finish(self) -> None:
        """A machine that has written nothing has an empty file."""
        if not self._files:
            await self.create_file(DATA_FILE)


class _MachineSource:
    """The `SnapshotSource` of a state machine."""

    def __init__(self, reader: SnapshotReader) -> None:
        self._reader = reader
        self._files = tuple(f for f in reader.meta.files if not is_runtime_file(f.name))

    @property
    def files(self) -> Sequence[SnapshotFile]:
        """See `SnapshotSource.files`."""
        return self._files

    async def open_file(self, name: str) -> None:
        """See `SnapshotSource.open_file`."""
        if is_runtime_file(name):
            raise KeyError(name)
        await self._reader.open_file(name)

    async def read(self, max_bytes: int = 1 << 20) -> bytes:
        """See `SnapshotSource.read`."""
        if not self._files:
            await trio.lowlevel.checkpoint()
            return b""
        return await self._reader.read(max_bytes)


async def write_runtime_file(writer: SnapshotWriter, sessions: SessionsCapture) -> None:
    """Add the captured session table. Lets others run every millisecond or so."""
    await writer.create_file(SESSIONS_FILE)
    for chunk in sessions.chunks():
        await writer.write(chunk)
        await trio.lowlevel.checkpoint()


async def restore_parts(
    reader: SnapshotReader, machine: StateMachine, sessions: SessionTable
) -> None:
    """Bring machine and sessions to an open snapshot. Raises CorruptionError, ConfigurationError.

    Without the runtime's file (a leader that is not ours sent the snapshot) the table knows no
    session that was born before it, and as a leader this node lets no call of those in.
    """
    table = await _read_sessions(reader, sessions)
    source = _MachineSource(reader)
    if source.files:
        await source.open_file(source.files[0].name)
    await machine.restore(source)
    sessions.become(table)


async def _read_sessions(reader: SnapshotReader, sessions: SessionTable) -> SessionTable:
    meta: SnapshotMeta = reader.meta
    file = next((f for f in meta.files if f.name == SESSIONS_FILE), None)
    if file is None:
        return SessionTable.blind(meta.index, sessions.limits)
    if file.size > _MAX_RUNTIME_FILE:
        raise CorruptionError(SESSIONS_FILE, 0, f"{file.size} bytes of sessions")
    await reader.open_file(SESSIONS_FILE)
    pieces = []
    while piece := await reader.read():
        pieces.append(piece)
    try:
        return decode_sessions(b"".join(pieces), sessions.limits)
    except ValueError as error:
        raise CorruptionError(SESSIONS_FILE, 0, str(error)) from error
