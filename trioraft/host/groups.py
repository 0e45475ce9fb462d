"""The groups of a host, by their id: opened, found, closed while the others run on."""

from __future__ import annotations

import random
from collections.abc import Sequence

import trio

from trioraft.node import (
    Group,
    PeerHandler,
    RuntimeSettings,
    StateMachine,
    UnknownGroupError,
)
from trioraft.protocols.dialect import Dialect
from trioraft.raft.config import RaftConfig
from trioraft.raft.types import Configuration, NodeId
from trioraft.storage import GroupStorage

from .environment import Disk, Environment
from .peers import Peers

__all__ = ["Groups"]


class Groups:
    """Implements `node.PeerRouter`: the part of `Host` that has to do with its groups."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        dialect: Dialect,
        environment: Environment,
        disk: Disk,
        peers: Peers,
        nursery: trio.Nursery,
    ) -> None:
        self.node_id = node_id
        self.dialect = dialect
        self._environment = environment
        self._disk = disk
        self._peers = peers
        self._nursery = nursery
        self._groups: dict[bytes, Group] = {}
        self._running: dict[bytes, _Running] = {}

    @property
    def groups(self) -> Sequence[Group]:
        return tuple(self._groups.values())

    def find_group(self, group_id: bytes) -> Group:
        """The group, or the only one for b"". Raises UnknownGroupError."""
        if not group_id and len(self._groups) == 1:
            return next(iter(self._groups.values()))
        group = self._groups.get(group_id)
        if group is None:
            raise UnknownGroupError(
                f"node {self.node_id} has no group {group_id.hex() or '(none)'}"
            )
        return group

    def find(self, group_id: bytes) -> PeerHandler:
        if not group_id:
            raise UnknownGroupError("a peer's request names no group")
        return self.find_group(group_id).inbound

    def only(self) -> PeerHandler:
        if len(self._groups) != 1:
            raise UnknownGroupError(
                f"node {self.node_id} has {len(self._groups)} groups; this dialect needs just one"
            )
        return self.find_group(b"").inbound

    async def start_group(
        self,
        *,
        group_id: bytes,
        configuration: Configuration,
        config: RaftConfig,
        settings: RuntimeSettings,
        machine: StateMachine,
    ) -> Group:
        """Open a group's storage and run the group in the host's nursery.

        Raises ConfigurationError for settings or members that the dialect cannot express,
        CorruptionError and StorageError.
        """
        self.dialect.check_members(configuration)
        storage = await self._disk.open_group(group_id, settings.storage)
        try:
            group = Group(
                group_id=group_id,
                node_id=self.node_id,
                configuration=configuration,
                config=self.dialect.config(config),
                settings=settings,
                storage=storage,
                machine=machine,
                connector=self._peers.connector(group_id),
                rng=random.Random(self._environment.rng.getrandbits(64)),
                clock_rate=self._environment.clock_rate,
            )
        except BaseException:
            await storage.aclose()
            raise
        running = _Running(group, storage)
        self._groups[group_id] = group
        self._running[group_id] = running
        if self._peers.resting is not None:
            self._peers.resting.add(group)
        self._nursery.start_soon(running.run)
        return group

    async def stop_group(self, group_id: bytes, *, delete: bool = False) -> None:
        """Stop a group and close its storage; with `delete`, remove its files.

        Raises UnknownGroupError, StorageError. Once begun, it is carried out even if cancelled.
        """
        self.find_group(group_id)
        del self._groups[group_id]
        if self._peers.resting is not None:
            self._peers.resting.remove(group_id)
        running = self._running.pop(group_id)
        running.scope.cancel()
        with trio.CancelScope(shield=True):
            await running.ended.wait()
            if delete:
                await self._disk.delete_group(group_id)


class _Running:
    """A group's task. A group that fails reports it and leaves; the others never notice."""

    def __init__(self, group: Group, storage: GroupStorage) -> None:
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self._group = group
        self._storage = storage

    async def run(self) -> None:
        try:
            with self.scope:
                await self._group.run()
        finally:
            await self._storage.aclose()
            self.ended.set()
