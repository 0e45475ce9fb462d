"""The store at one revision, to be written while the store goes on.

Nothing is copied when it is captured: versions never change, and later ones are told by their
revision. Only a compaction removes anything; what it drops of a key that has not been written
yet is kept here until then, at most references to the history that the store had when it was
captured. So the answers of the store never depend on whether a snapshot is being written.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter

from sortedcontainers import SortedList

from trioraft.node.machine import SnapshotSink

from .index import Version
from .snapshot import CHUNK_SIZE, StoreEncoder
from .steps import KEYS_PER_STEP
from .store import Store

__all__ = ["StoreCapture"]

_mod = itemgetter(0)


class StoreCapture:
    """A `SnapshotCapture`."""

    def __init__(self, store: Store) -> None:
        """Take hold of `store`, between two transactions. Costs the same for any size."""
        self._index = store.index
        self._revision = store.revision
        self._encoder = StoreEncoder()
        self._header = store.revision, store.compact_revision, store.index.history_count
        self._position: bytes | None = None  # up to this key everything is written
        self._kept: dict[bytes, Sequence[Version]] = {}  # histories before a compaction
        self._gone: SortedList[bytes] = SortedList()  # keys of those that left the index
        self._index.watchers.append(self)

    async def write(self, sink: SnapshotSink) -> None:
        """See `SnapshotCapture.write`: others have their turn after every 256 keys or 256 KiB."""
        for chunk in self.chunks():
            await sink.write(chunk)

    def close(self) -> None:
        """See `SnapshotCapture.close`."""
        self._index.watchers.remove(self)
        self._kept.clear()
        self._gone.clear()

    def chunks(self) -> Iterator[bytes]:
        """The store as it was, in chunks; it may change between any two of them. Once."""
        encoder = self._encoder
        encoder.header(*self._header)
        while keys := self._next_keys():
            for key in keys:
                history = self._kept.get(key) or self._index.find_history(key) or ()
                versions = history[: bisect_right(history, self._revision, key=_mod)]
                self._position = key
                if not versions:
                    continue  # the key is younger
                encoder.key(key, len(versions))
                for version in versions:
                    encoder.version(version)
                    if encoder.size >= CHUNK_SIZE:
                        yield encoder.take()
            yield encoder.take()
        yield encoder.end()

    def forgetting(self, key: bytes, history: Sequence[Version], *, wholly: bool) -> None:
        """Told by the index before a compaction drops versions of a key."""
        if self._position is not None and key <= self._position:
            return
        if key not in self._kept and history[0].mod <= self._revision:
            self._kept[key] = tuple(history)
        if wholly and key in self._kept and key not in self._gone:
            self._gone.add(key)

    def _next_keys(self) -> list[bytes]:
        """The next keys in order, those that are younger included; [] at the end."""
        keys = self._index.keys_after(self._position)
        gone = self._gone.irange(self._position, None, inclusive=(False, True))
        found = list(islice(merge(keys, gone), KEYS_PER_STEP))
        return list(dict.fromkeys(found)) if self._gone else found
