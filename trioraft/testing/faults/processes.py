"""Processes that crash, restart or stand still, and a building without power."""

from __future__ import annotations

import random

import trio

from trioraft.testing.cluster import SimCluster

from .victims import Victims

__all__ = ["ProcessFaults"]


class ProcessFaults:
    """Each method does one harm and undoes it; False if there was nobody to do it to."""

    def __init__(self, cluster: SimCluster, victims: Victims, rng: random.Random) -> None:
        self._cluster = cluster
        self._victims = victims
        self._rng = rng

    async def crash_leader(self) -> bool:
        return await self._crash(self._victims.leader())

    async def crash_any(self) -> bool:
        return await self._crash(self._victims.any())

    async def _crash(self, name: str | None) -> bool:
        if name is None:
            return False
        with self._victims.hands_on([name]):
            self._cluster.kill(name)
            await trio.sleep(self._rng.uniform(0.0, 1.0))
            await self._cluster.start(name)
        return True

    async def power_cut(self) -> bool:
        """The whole building loses power."""
        names = self._victims.free()
        if len(names) < len(self._cluster.names):
            return False
        with self._victims.hands_on(names):
            for name in names:
                self._cluster.kill(name)
            await trio.sleep(self._rng.uniform(0.0, 0.5))
            self._rng.shuffle(names)
            for name in names:
                await self._cluster.start(name)
        return True

    async def restart(self) -> bool:
        """An operator stops a node in good order and starts it again."""
        name = self._victims.any()
        if name is None:
            return False
        with self._victims.hands_on([name]):
            await self._cluster.stop(name)
            await trio.sleep(self._rng.uniform(0.0, 0.5))
            await self._cluster.start(name)
        return True

    async def pause_leader(self) -> bool:
        return await self._pause(self._victims.leader())

    async def pause_any(self) -> bool:
        return await self._pause(self._victims.any())

    async def _pause(self, name: str | None) -> bool:
        if name is None:
            return False
        with self._victims.hands_on([name]):
            self._cluster.pause(name)
            await trio.sleep(self._rng.choice((0.05, 0.3, 1.0, 2.0)) * self._rng.random())
            self._cluster.resume(name)
        return True
