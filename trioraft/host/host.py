"""The host: one per process. Listeners, peer channels, and groups by their id.

host
├── listeners           one nursery per connection, one cancel scope per call (rpc/)
├── peer connections    one pair of channels per peer, shared by all groups
└── group × N           one failing group never takes down another
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import trio

from ..node import (
    Group,
    PeerHandler,
    PeerTransport,
    RuntimeSettings,
    StateMachine,
    UnknownGroupError,
)
from ..protocols.dialect import Dialect
from ..raft.config import RaftConfig
from ..raft.types import Configuration, Member, NodeId
from ..rpc import Channel, Limits, Service, open_channel, serve
from ..storage import GroupStorage
from .environment import Environment

__all__ = ["Host"]

logger = logging.getLogger(__name__)

# Peers exchange small frames in bulk and rarely a snapshot: room above the dialect's largest
# message for its envelope.
_ENVELOPE_BYTES = 1 << 20
_RECONNECT_MAX = 1.0  # seconds: a peer that comes back is needed soon


class Host:
    """Implements `node.PeerRouter`. Lives in the nursery it is given."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        dialect: Dialect,
        environment: Environment,
        nursery: trio.Nursery,
    ) -> None:
        self.node_id = node_id
        self.dialect = dialect
        self._environment = environment
        self._nursery = nursery
        self._groups: dict[bytes, Group] = {}
        self._channels: dict[str, tuple[Channel, Channel]] = {}
        self._limits = Limits(
            max_receive_message=dialect.max_message_bytes + _ENVELOPE_BYTES,
            max_send_message=dialect.max_message_bytes + _ENVELOPE_BYTES,
            reconnect_max=_RECONNECT_MAX,
        )

    # -- groups

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
        storage: GroupStorage,
        machine: StateMachine,
    ) -> Group:
        """Add a group and run it in the host's nursery.

        Raises ConfigurationError for settings or members that the dialect cannot express.
        """
        self.dialect.check_members(configuration)
        for member in configuration.members():
            if member.id != self.node_id:
                await self._open_channels(member.address)
        group = Group(
            group_id=group_id,
            node_id=self.node_id,
            configuration=configuration,
            config=self.dialect.config(config),
            settings=settings,
            storage=storage,
            machine=machine,
            connect=partial(self._transport, group_id),
            rng=random.Random(self._environment.rng.getrandbits(64)),
        )
        self._groups[group_id] = group
        self._nursery.start_soon(group.run)
        return group

    # -- peers

    def channel_to(self, member: Member) -> Channel:
        """The bulk channel to a peer: entries, snapshots, forwarded calls."""
        return self._channels[member.address][0]

    def _transport(self, group_id: bytes, peer: Member) -> PeerTransport:
        entries, heartbeats = self._channels[peer.address]
        return self.dialect.transport(
            group_id=group_id,
            self_id=self.node_id,
            peer=peer,
            entries=entries,
            heartbeats=heartbeats,
        )

    async def _open_channels(self, address: str) -> None:
        if address not in self._channels:
            self._channels[address] = await self._nursery.start(self._keep_channels, address)

    async def _keep_channels(
        self, address: str, *, task_status: trio.TaskStatus[tuple[Channel, Channel]]
    ) -> None:
        """Hold the pair open until the host ends; they connect when first used."""
        async with AsyncExitStack() as stack:
            pair = [
                await stack.enter_async_context(
                    open_channel(
                        address,
                        dial=partial(self._environment.dial, address),
                        limits=self._limits,
                        rng=random.Random(self._environment.rng.getrandbits(64)),
                    )
                )
                for _ in range(2)
            ]
            task_status.started((pair[0], pair[1]))
            await trio.sleep_forever()

    # -- listeners

    async def serve(
        self,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
        services: Sequence[Service],
        *,
        uds: str | None = None,
    ) -> None:
        """Serve peers and `services` on the listeners, and on a Unix socket if `uds` is given.

        Raises OSError when the Unix socket can't be bound.
        """
        await self._nursery.start(
            partial(
                serve,
                [*self.dialect.services(self), *services],
                listeners=listeners,
                uds=uds,
                limits=self._limits,
            )
        )
