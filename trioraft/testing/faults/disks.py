"""Disks that fill up, report errors, or change what they hold.

A node may stop over it, and then says why; it must never go on as if nothing had happened, and
never serve or vote from what is not what it wrote.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from trioraft.raft.errors import CorruptionError, StorageError
from trioraft.testing.cluster import SimCluster
from trioraft.testing.invariants import InvariantViolatedError
from trioraft.testing.trace import Trace

from .victims import Victims

__all__ = ["DiskFaults"]


_NOTICE = 1.0  # virtual seconds after its start in which a node must have read its snapshot


class _Flip(NamedTuple):
    path: str
    offset: int
    honest: bytes
    wrong: bytes
    reserved: bool  # in space that a log has reserved and not written


class DiskFaults:
    """Each method harms one disk and puts it right; False if there was nobody to do it to.

    A harm that is cancelled is undone by `repair`.
    """

    def __init__(
        self, cluster: SimCluster, victims: Victims, rng: random.Random, trace: Trace
    ) -> None:
        self._cluster = cluster
        self._victims = victims
        self._rng = rng
        self._trace = trace
        self._flipped: dict[str, _Flip] = {}

    def repair(self, name: str) -> None:
        """The disk works again, and holds what was written to it."""
        disk = self._cluster.disks[name]
        disk.heal()
        flip = self._flipped.pop(name, None)
        if flip is not None and flip.path in disk.paths():
            # Logs only grow and snapshots only go: what was there before still is, but for
            # reserved space, and there everything is written anew.
            contents = disk.contents(flip.path)
            if contents[flip.offset : flip.offset + 1] == flip.wrong and not flip.reserved:
                disk.corrupt(flip.path, flip.offset, flip.honest)

    def is_rotten(self, name: str) -> bool:
        """The disk holds something that was not written to it."""
        return name in self._flipped

    async def fill(self) -> bool:
        """The disk of some node is full for a while."""
        return await self._harm(self._fill)

    async def fail(self) -> bool:
        """The disk of some node reports errors for a while: of writes, of syncs, or of all."""
        return await self._harm(self._fail)

    async def rot(self) -> bool:
        """A bit flips on the disk of some node while that is down."""
        return await self._harm(self._rot)

    async def _harm(self, harm: Callable[[str], Awaitable[None]]) -> bool:
        name = self._victims.any()
        if name is None:
            return False
        with self._victims.hands_on([name]):
            await harm(name)
        return True

    async def _fill(self, name: str) -> None:
        await self._refuse(name, ("write", "allocate"), errno.ENOSPC)

    async def _fail(self, name: str) -> None:
        await self._refuse(name, (self._rng.choice(("write", "datasync", "*")),), errno.EIO)

    async def _refuse(self, name: str, operations: tuple[str, ...], code: int) -> None:
        disk = self._cluster.disks[name]
        self._cluster.fragile.add(name)
        after = self._rng.randrange(8)
        self._trace.record(f"disk of {name}: {errno.errorcode[code]} on {', '.join(operations)}")
        for operation in operations:
            disk.fail(operation, code, after=after)
        await trio.sleep(self._rng.uniform(0.1, 1.0))
        disk.heal()
        # Whatever the node has made of it: it is started again on what the disk holds.
        await self._cluster.restart(name)

    async def _rot(self, name: str) -> None:
        """Flip a bit.

        The node may refuse to start, changing nothing, or find the flip later and stop. Then the
        disk is put right. Otherwise the flip did no harm, or the promises of the run break.
        """
        cluster, disk = self._cluster, self._cluster.disks[name]
        await cluster.stop(name)
        paths = [path for path in disk.paths() if disk.contents(path)]
        path = self._rng.choice(paths)
        contents = disk.contents(path)
        offset = self._rng.randrange(len(contents))
        honest = contents[offset : offset + 1]
        wrong = bytes([honest[0] ^ 1 << self._rng.randrange(8)])
        self._trace.record(f"rot on {name}: {path} at {offset}")
        reserved = offset >= len(contents.rstrip(b"\0"))
        self._flipped[name] = _Flip(path, offset, honest, wrong, reserved)
        disk.corrupt(path, offset, wrong)
        before = {p: disk.contents(p) for p in disk.paths()}
        cluster.fragile.add(name)
        try:
            await cluster.start(name)
        except CorruptionError as error:
            self._trace.record(f"{name} refuses to start: {error.reason}")
            changed = [p for p in before if p not in disk.paths() or disk.contents(p) != before[p]]
            if changed:
                raise InvariantViolatedError(
                    f"{name} refused a corrupt disk, but changed {changed[0]}"
                ) from error
        except StorageError as error:
            self._trace.record(f"{name} refuses to start: {type(error).__name__}")
        await trio.sleep(_NOTICE)
        if name in cluster.nodes:
            await cluster.stop(name)  # it lives with it, or has not looked there yet
        self.repair(name)
        await cluster.start(name)
        cluster.fragile.discard(name)
