"""The store: revisions, writes grouped into transactions, compaction.

A revision is the number of the last transaction that changed something. etcd starts at 1, so
the first write makes revision 2. All writes of one transaction share a main revision and
are told apart by sub-revisions 0, 1, 2...
"""

from __future__ import annotations

from .errors import COMPACTED, FUTURE_REVISION, KvError
from .index import Index, Pair, Version
from .steps import KEYS_PER_STEP, Steps, collect

__all__ = ["FIRST_REVISION", "NEVER_COMPACTED", "Store", "range_end"]

FIRST_REVISION = 1
NEVER_COMPACTED = -1


def range_end(end: bytes) -> bytes | None:
    """The wire's `range_end` as `Index` takes it: empty is one key, "\\0" is no upper bound."""
    if not end:
        return None
    return b"" if end == b"\0" else end


class Store:
    """The data of one replica. Synchronous; `commit` ends each transaction."""

    def __init__(self) -> None:
        self.index = Index()
        self.revision = FIRST_REVISION
        self.compact_revision = NEVER_COMPACTED
        self._changes = 0

    @property
    def view_revision(self) -> int:
        """The revision that a read sees now: in a transaction that wrote, the one being made."""
        return self.revision + 1 if self._changes else self.revision

    def put(self, key: bytes, value: bytes, lease: int) -> Version | None:
        """Write a version; returns the one before it, if the key existed."""
        mod = self.revision + 1
        previous = self.index.newest(key)
        if previous is None:
            version = Version(mod, self._changes, mod, 1, value, lease)
        else:
            version = Version(
                mod, self._changes, previous.create, previous.number + 1, value, lease
            )
        self.index.add(key, version)
        self._changes += 1
        return previous

    def delete(self, key: bytes, end: bytes | None) -> Steps[list[Pair]]:
        """Delete the range; returns what was deleted, in order."""
        mod = self.revision + 1
        deleted = yield from collect(self.index.walk(key, end))
        for place, (found, _) in enumerate(deleted, 1):
            self.index.add(found, Version(mod, self._changes, 0, 0, b"", 0))
            self._changes += 1
            if place % KEYS_PER_STEP == 0:
                yield
        return deleted

    def commit(self) -> int:
        """End the transaction; returns the revision, which moved if anything was written."""
        if self._changes:
            self.revision += 1
            self._changes = 0
        return self.revision

    def check_readable(self, revision: int) -> None:
        """Raise KvError unless reads at `revision` (above 0) can be answered."""
        if revision > self.view_revision:
            raise KvError(*FUTURE_REVISION)
        if revision < self.compact_revision:
            raise KvError(*COMPACTED)

    def compact(self, revision: int) -> Steps[None]:
        """Forget what only reads below `revision` could see. Raises KvError."""
        if revision <= self.compact_revision:
            raise KvError(*COMPACTED)
        if revision > self.revision:
            raise KvError(*FUTURE_REVISION)
        self.compact_revision = revision
        for place, key in enumerate(self.index.all_keys(), 1):
            self.index.forget(key, revision)
            if place % KEYS_PER_STEP == 0:
                yield
