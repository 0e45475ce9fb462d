"""The outside world of one simulated machine: simulated network and disk, seeded randomness."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from trioraft.host.environment import Disk
from trioraft.raft.errors import ConfigurationError
from trioraft.storage import DataDirectory, DiskWriter, GroupStorage, StorageSettings

from .disk import SimDisk, open_sim_writer
from .network import SimNetwork

__all__ = ["SimEnvironment"]

# Seconds that a group commit takes, low and high: flash, a busy disk, a dying one.
_DISKS = ((0.0001, 0.002), (0.001, 0.02), (0.01, 0.1))


class SimEnvironment:
    """Implements `host.Environment` for one boot of one machine.

    clock_rate: seconds that the machine's clock counts in one of virtual time.
    """

    def __init__(
        self,
        machine: str,
        network: SimNetwork,
        disk: SimDisk,
        rng: random.Random,
        *,
        clock_rate: float = 1.0,
    ) -> None:
        self.rng = rng
        self.clock_rate = clock_rate
        self._machine = machine
        self._network = network
        self._disk = disk

    async def dial(self, address: str) -> trio.abc.Stream:
        return await self._network.dial(self._machine, address)

    async def listen(self, address: str) -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
        return [await self._network.listen(address)]

    @asynccontextmanager
    async def open_disk(
        self, path: Path | None, *, node_id: str, cluster: str
    ) -> AsyncIterator[Disk]:
        if path is None:
            raise ConfigurationError("a simulated node needs a data path on its simulated disk")
        directory = DataDirectory.open(
            path, node_id=node_id, cluster=cluster, filesystem=self._disk
        )
        try:
            latency = self.rng.choice(_DISKS)
            rng = random.Random(self.rng.getrandbits(64))
            async with open_sim_writer(rng, latency=latency) as writer:
                yield _SimGroups(directory, writer)
        finally:
            directory.close()


class _SimGroups:
    def __init__(self, directory: DataDirectory, writer: DiskWriter) -> None:
        self._directory = directory
        self._writer = writer

    async def open_group(self, group_id: bytes, settings: StorageSettings) -> GroupStorage:
        return await self._directory.open_group(group_id, self._writer, settings)

    async def delete_group(self, group_id: bytes) -> None:
        await self._directory.delete_group(group_id, self._writer)
