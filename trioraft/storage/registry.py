"""Which groups a data directory has: one empty file per group, beside the groups' own folders.

A group is entered once its log is durable and before anything is done with it. So a group that
is entered and has no log has lost its vote, and must not start empty.

    DIR/registered/HEX            the group exists
    DIR/registered/HEX.removed    it is being deleted
"""

from __future__ import annotations

from trioraft.raft.errors import DataDirectoryError

from .filesystem import FileSystem, write_aside

__all__ = ["GroupRegistry"]

_REMOVED = ".removed"


class GroupRegistry:
    """Blocking; every change is durable when the call returns. Every method may raise OSError."""

    def __init__(self, filesystem: FileSystem, path: str) -> None:
        self._filesystem = filesystem
        self._entries = f"{path}/registered"
        self._groups = f"{path}/groups"

    def folder(self, group_id: bytes) -> str:
        return f"{self._groups}/{group_id.hex()}"

    def groups(self) -> list[bytes]:
        """Ids of the groups that exist, ascending. Raises DataDirectoryError for other names."""
        names = [
            name
            for name in self._filesystem.list_directory(self._entries)
            if not name.endswith((".tmp", _REMOVED))
        ]
        for folder in (self._entries, self._groups):
            try:
                for name in self._filesystem.list_directory(folder):
                    bytes.fromhex(name.removesuffix(_REMOVED).removesuffix(".tmp"))
            except ValueError as error:
                raise DataDirectoryError(
                    f"{folder} holds something that is not ours ({error}): move it away"
                ) from error
        return [bytes.fromhex(name) for name in names]

    def knows(self, group_id: bytes) -> bool:
        return self._filesystem.exists(f"{self._entries}/{group_id.hex()}")

    def prepare(self, group_id: bytes) -> bool:
        """Make the group's folder; returns whether it had a log. Ends a removal that a crash
        interrupted."""
        if self._filesystem.exists(f"{self._entries}/{group_id.hex()}{_REMOVED}"):
            self._delete(group_id)
        known = self.knows(group_id)
        self._filesystem.make_directory(self.folder(group_id))
        return known

    def enter(self, group_id: bytes) -> None:
        """The group has a durable log from now on."""
        write_aside(self._filesystem, f"{self._entries}/{group_id.hex()}", b"")

    def remove(self, group_id: bytes) -> None:
        """Forget the group and delete its files. A crash leaves it removed or untouched."""
        entry = f"{self._entries}/{group_id.hex()}"
        if self._filesystem.exists(entry):
            self._filesystem.rename(entry, entry + _REMOVED)
            self._filesystem.sync_directory(self._entries)
        self._delete(group_id)

    def _delete(self, group_id: bytes) -> None:
        folder = self.folder(group_id)
        if self._filesystem.exists(folder):
            for name in self._filesystem.list_directory(folder):
                self._filesystem.unlink(f"{folder}/{name}")
            self._filesystem.sync_directory(folder)
            self._filesystem.remove_directory(folder)
        removed = f"{self._entries}/{group_id.hex()}{_REMOVED}"
        if self._filesystem.exists(removed):
            self._filesystem.unlink(removed)
            self._filesystem.sync_directory(self._entries)
