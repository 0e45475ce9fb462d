"""The durable log, vote and snapshots of a group, in files or in memory. Knows Trio, not RPC."""

from .directory import DataDirectory
from .filesystem import File, FileLock, FileSystem, OsFileSystem
from .interface import (
    GroupStorage,
    PersistBatch,
    RecoveredState,
    SnapshotReader,
    SnapshotWriter,
)
from .log import FileStorage
from .memory import MemoryStorage
from .settings import FsyncPolicy, StorageSettings
from .writer import DiskWriter, open_disk_writer

__all__ = [
    "DataDirectory",
    "DiskWriter",
    "File",
    "FileLock",
    "FileStorage",
    "FileSystem",
    "FsyncPolicy",
    "GroupStorage",
    "MemoryStorage",
    "OsFileSystem",
    "PersistBatch",
    "RecoveredState",
    "SnapshotReader",
    "SnapshotWriter",
    "StorageSettings",
    "open_disk_writer",
]
