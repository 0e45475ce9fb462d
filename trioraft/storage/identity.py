"""Whose data directory it is: `node.json`, written once and compared at every start."""

from __future__ import annotations

import json

from trioraft.raft.errors import CorruptionError, DataDirectoryError

from .filesystem import FileSystem, write_aside

__all__ = ["FORMAT_VERSION", "IDENTITY", "check_identity", "read_identity", "refuse_foreign"]

FORMAT_VERSION = 2
IDENTITY = "node.json"
# What may be there before we are: our own first steps, and the mark of a fresh file system.
_HARMLESS = frozenset({"lock", f"{IDENTITY}.tmp", "lost+found"})


def refuse_foreign(filesystem: FileSystem, folder: str, ours: frozenset[str]) -> None:
    """Raises DataDirectoryError if `folder` holds anything; `ours` are folders, fine if empty."""
    for name in filesystem.list_directory(folder):
        if name in _HARMLESS or (
            name in ours and not filesystem.list_directory(f"{folder}/{name}")
        ):
            continue
        raise DataDirectoryError(
            f"{folder} is not a trioraft data directory (it holds {name!r} and no "
            f"{IDENTITY}): name an empty or a new directory"
        )


def check_identity(filesystem: FileSystem, folder: str, node_id: str, cluster: str) -> None:
    """Write who uses `folder`, or compare. Raises DataDirectoryError, CorruptionError, OSError."""
    path = f"{folder}/{IDENTITY}"
    if not filesystem.exists(path):
        fields = {"format": FORMAT_VERSION, "node_id": node_id, "cluster": cluster}
        write_aside(filesystem, path, (json.dumps(fields, sort_keys=True) + "\n").encode())
        return
    theirs = read_identity(filesystem, folder)
    if theirs != (node_id, cluster):
        raise DataDirectoryError(
            f"{folder} belongs to node {theirs[0]!r} of cluster {theirs[1]!r}, not to node "
            f"{node_id!r} of cluster {cluster!r}: name that node's own directory, or a new one"
        )


def read_identity(filesystem: FileSystem, folder: str) -> tuple[str, str]:
    """(node id, cluster). Raises DataDirectoryError for another format, CorruptionError."""
    path = f"{folder}/{IDENTITY}"
    file = filesystem.open(path)
    try:
        contents = file.read(file.size(), 0)
    finally:
        file.close()
    try:
        found = json.loads(contents)
        theirs = str(found["node_id"]), str(found["cluster"])
        version = found["format"]
    except (ValueError, KeyError, TypeError) as error:
        reason = f"it does not say whose directory this is: {error}"
        raise CorruptionError(path, 0, reason) from error
    if version != FORMAT_VERSION:
        raise DataDirectoryError(
            f"{folder} has format {version}; this version of trioraft reads {FORMAT_VERSION}"
        )
    return theirs
