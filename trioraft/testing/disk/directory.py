"""The names of files: what programs see, what the platter has, and the changes between the two.

As on real disks a name is not its file: either can be durable without the other.
"""

from __future__ import annotations

import errno
import os
import posixpath
import random
from typing import NamedTuple

from .inode import Inode

__all__ = ["Directory"]


class _Change(NamedTuple):
    """A file that was made, renamed or deleted; `folder` is the one to sync for it."""

    folder: str
    new: str | None
    inode: Inode
    old: str | None

    def apply(self, names: dict[str, Inode]) -> None:
        if self.old is not None and names.get(self.old) is self.inode:
            del names[self.old]
        if self.new is not None:
            names[self.new] = self.inode


class Directory:
    """All names of one disk. Folders are durable as soon as they are made.

    seen: path -> file, as programs see them.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Inode] = {}
        self.folders = {"/", "", "."}
        self._durable: dict[str, Inode] = {}
        self._changes: list[_Change] = []

    def existing(self, path: str) -> Inode:
        """The file of that name. Raises FileNotFoundError."""
        if path not in self.seen:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.seen[path]

    def create(self, path: str) -> Inode:
        """Name a new file, in place of any that has the name. Raises FileNotFoundError."""
        self.require_folder(posixpath.dirname(path))
        inode = Inode()
        self._record(path, inode, None)
        return inode

    def rename(self, source: str, target: str) -> None:
        """Raises FileNotFoundError."""
        self._record(target, self.existing(source), source)

    def unlink(self, path: str) -> None:
        """Raises FileNotFoundError."""
        self._record(None, self.existing(path), path)

    def require_folder(self, folder: str) -> None:
        """Raises FileNotFoundError."""
        if folder not in self.folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)

    def list(self, folder: str) -> list[str]:
        """What is in a folder, sorted. Raises FileNotFoundError."""
        self.require_folder(folder)
        everything = (*self.seen, *self.folders)
        return sorted({posixpath.basename(p) for p in everything if _is_in(p, folder)})

    def sync(self, folder: str) -> None:
        """Make the names in a folder durable."""
        for change in self._changes:
            if change.folder == folder:
                change.apply(self._durable)
        self._changes = [change for change in self._changes if change.folder != folder]

    def crash(self, rng: random.Random) -> None:
        """Keep of the unsynced changes of names what the seed says, then of each file's bytes."""
        chance = rng.choice((0.0, 0.5, 1.0))
        for change in self._changes:
            if rng.random() < chance:
                change.apply(self._durable)
        self._changes.clear()
        self.seen = dict(self._durable)
        for path in sorted(self.seen):
            self.seen[path].crash(rng)

    def _record(self, new: str | None, inode: Inode, old: str | None) -> None:
        change = _Change(posixpath.dirname(new or old or ""), new, inode, old)
        change.apply(self.seen)
        self._changes.append(change)


def _is_in(path: str, folder: str) -> bool:
    return bool(posixpath.basename(path)) and posixpath.dirname(path) == folder
