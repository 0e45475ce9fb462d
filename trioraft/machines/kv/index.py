"""Every key with its versions, in order: the multi-version index.

A key's history is a list of `Version` in ascending revision. A deletion is a version of its
own (a tombstone: version number 0), so that reads in the past see the gap. Keys that exist now
and keys that are only remembered are kept in two sorted lists: a read of the present then costs
the logarithm of the key count plus what it returns, however much history there is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from heapq import merge
from operator import itemgetter
from typing import NamedTuple, Protocol

from sortedcontainers import SortedList

__all__ = ["ForgettingWatcher", "Index", "Pair", "Version"]


class Version(NamedTuple):
    """One version of a key. Revisions are main revisions; `sub` orders writes of one txn."""

    mod: int
    sub: int
    create: int
    number: int
    """etcd calls it "version": 1 for the put that created the key, +1 each put; 0: deleted."""
    value: bytes
    lease: int


Pair = tuple[bytes, Version]
"""A key and one of its versions."""

_mod = itemgetter(0)


class ForgettingWatcher(Protocol):
    def forgetting(self, key: bytes, history: Sequence[Version], *, wholly: bool) -> None:
        """Versions of `key` are about to be dropped from `history`; with `wholly`, all."""


class Index:
    """Histories by key, and the order of the keys.

    Ranges are `key, end`: `end` None means only `key`, b"" means everything from `key` on,
    anything else is exclusive.
    """

    def __init__(self) -> None:
        self._histories: dict[bytes, list[Version]] = {}
        self._live: SortedList[bytes] = SortedList()
        self._dead: SortedList[bytes] = SortedList()
        self.watchers: list[ForgettingWatcher] = []
        """Told before anything is forgotten; the few snapshots that are being written."""

    def __len__(self) -> int:
        """How many keys exist now."""
        return len(self._live)

    def all_keys(self) -> list[bytes]:
        """Every key with a history, existing or not, in order."""
        return list(merge(self._live, self._dead))

    @property
    def history_count(self) -> int:
        """How many keys have a history, whether they exist now or not."""
        return len(self._histories)

    def keys_after(self, key: bytes | None) -> Iterator[bytes]:
        """Every key with a history behind `key` (None: from the first), in order.

        Costs the logarithm of their number to begin. No writes while it is in use.
        """
        live = self._live.irange(key, None, inclusive=(False, True))
        return merge(live, self._dead.irange(key, None, inclusive=(False, True)))

    def find_history(self, key: bytes) -> list[Version] | None:
        """As `history`, None for a key without one."""
        return self._histories.get(key)

    def history(self, key: bytes) -> list[Version]:
        """All versions of a key that has a history, oldest first. Not to be changed."""
        return self._histories[key]

    def newest(self, key: bytes) -> Version | None:
        """The version of `key` that exists now."""
        history = self._histories.get(key)
        if history is None:
            return None
        version = history[-1]
        return version if version.number else None

    def add(self, key: bytes, version: Version) -> None:
        """Append the newest version of `key`; a tombstone only to a key that exists."""
        history = self._histories.get(key)
        if history is None:
            self._histories[key] = [version]
            self._live.add(key)
            return
        if not version.number:
            self._live.remove(key)
            self._dead.add(key)
        elif not history[-1].number:
            self._dead.remove(key)
            self._live.add(key)
        history.append(version)

    def load(self, histories: dict[bytes, list[Version]]) -> None:
        """Replace everything; `histories` is kept, in order of its keys and without gaps."""
        self._histories = histories
        self._live = SortedList(key for key, versions in histories.items() if versions[-1].number)
        self._dead = SortedList(
            key for key, versions in histories.items() if not versions[-1].number
        )

    def count(self, key: bytes, end: bytes | None) -> int:
        """How many keys of the range exist now."""
        if end is None:
            return 1 if self.newest(key) is not None else 0
        live = self._live
        start: int = live.bisect_left(key)
        stop: int = live.bisect_left(end) if end else len(live)
        return max(0, stop - start)

    def walk(self, key: bytes, end: bytes | None) -> Iterator[Pair]:
        """The pairs of the range that exist now, in order. No writes while it is in use."""
        histories = self._histories
        if end is not None:
            for found in self._irange(self._live, key, end):
                yield found, histories[found][-1]
        elif (version := self.newest(key)) is not None:
            yield key, version

    def walk_at(self, key: bytes, end: bytes | None, revision: int) -> Iterator[Pair]:
        """The pairs of the range that existed at `revision`, in order. No writes meanwhile."""
        if end is None:
            keys: Iterator[bytes] = iter((key,)) if key in self._histories else iter(())
        else:
            keys = merge(self._irange(self._live, key, end), self._irange(self._dead, key, end))
        for found in keys:
            history = self._histories[found]
            place = bisect_right(history, revision, key=_mod)
            if place and history[place - 1].number:
                yield found, history[place - 1]

    def forget(self, key: bytes, revision: int) -> None:
        """Drop the versions of `key` that no read at `revision` or later can see.

        A tombstone of exactly `revision` stays: it is the event that a reader of the history
        from `revision` on must still find (etcd since 3.4.34).
        """
        history = self._histories[key]
        keep = bisect_right(history, revision, key=_mod) - 1
        if keep < 0:
            return
        if not history[keep].number and history[keep].mod < revision:
            keep += 1
        for watcher in self.watchers if keep else ():
            watcher.forgetting(key, history, wholly=keep == len(history))
        del history[:keep]
        if not history:
            del self._histories[key]
            self._dead.remove(key)

    @staticmethod
    def _irange(keys: SortedList[bytes], key: bytes, end: bytes) -> Iterator[bytes]:
        if end and end <= key:
            return iter(())
        found: Iterator[bytes] = keys.irange(key, end or None, inclusive=(True, False))
        return found
