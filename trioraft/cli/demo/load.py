"""The demo's load: concurrent writers that keep trying, and a record of what was acknowledged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import trio

from trioraft.client import EtcdClient

from .source import Record, Source

__all__ = ["Acknowledged", "Load"]

#: Writers at work at once; each has one write under way.
WRITERS = 32

#: Seconds a single write keeps trying; an election takes one or two.
PATIENCE = 30.0

_DIGEST = 16  # bytes kept of each value, so that memory does not grow with the input's size


class Acknowledged:
    """What the cluster said OK to: per record a digest of its value. 17 bytes per record."""

    def __init__(self, count: int) -> None:
        self._seen = bytearray(count)
        self._digests = bytearray(count * _DIGEST)
        self.count = 0

    def add(self, record: Record) -> None:
        """Note an acknowledgement; every record is written once."""
        assert not self._seen[record.number]
        self._seen[record.number] = 1
        start = record.number * _DIGEST
        self._digests[start : start + _DIGEST] = _digest(record.value)
        self.count += 1

    def __contains__(self, number: int) -> bool:
        return 0 <= number < len(self._seen) and bool(self._seen[number])

    def matches(self, number: int, value: bytes) -> bool:
        """Whether `value` is what was acknowledged for this record."""
        start = number * _DIGEST
        return self._digests[start : start + _DIGEST] == _digest(value)


def _digest(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=_DIGEST).digest()


class Load:
    """Writes a source into the cluster, every record until it is acknowledged."""

    def __init__(self, client: EtcdClient, source: Source) -> None:
        self._client = client
        self._records: Iterator[Record] = source.records()
        self.acknowledged = Acknowledged(source.count)
        self.total = source.count
        self._progress: dict[int, trio.Event] = {}

    async def run(self) -> None:
        """Write everything. Raises NoQuorumError if one write fails for `PATIENCE` seconds."""
        async with trio.open_nursery() as nursery:
            for _ in range(WRITERS):
                nursery.start_soon(self._write)

    async def wait_for(self, count: int) -> None:
        """Wait until so many writes are acknowledged. Returns at once if they are."""
        if self.acknowledged.count < count:
            await self._progress.setdefault(count, trio.Event()).wait()

    async def _write(self) -> None:
        # The iterator is shared: each writer takes the next record. It reads the file in
        # blocks, which is not worth a thread.
        for record in self._records:
            await self._client.put(record.key, record.value, timeout=PATIENCE)
            self.acknowledged.add(record)
            event = self._progress.pop(self.acknowledged.count, None)
            if event is not None:
                event.set()
