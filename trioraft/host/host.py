"""The host: one per process. Listeners, peer channels, and groups by their id.

host
├── listeners           one nursery per connection, one cancel scope per call (rpc/)
├── peer connections    one pair of channels per address, shared by all groups (channels.py)
├── links               with many groups: heartbeats of all of them to one peer, together (links.py)
├── resting             with many groups: puts idle ones to rest and wakes them (resting.py)
└── group × N           one failing group never takes down another
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from trioraft.node import (
    Group,
    PeerHandler,
    PeerTransport,
    PeerUnreachableError,
    RuntimeSettings,
    StateMachine,
    UnknownGroupError,
)
from trioraft.protocols.dialect import Dialect
from trioraft.protocols.local.link import LinkedTransport, LinkService, LinkSettings
from trioraft.protocols.local.snapshots import SnapshotService, SnapshotTransport
from trioraft.raft.config import RaftConfig
from trioraft.raft.types import Configuration, Member, NodeId
from trioraft.rpc import Channel, Limited, Limits, Server, Service, Unawaited
from trioraft.rpc.services import ReflectionService
from trioraft.storage import GroupStorage

from .channels import ChannelPool
from .environment import Disk, Environment
from .links import LinkPool
from .resting import Resting, RestSettings
from .stopping import stop_in_order

__all__ = ["SMALL_BYTES", "Host", "open_host"]

# Peers exchange small frames in bulk and rarely a snapshot: room above the dialect's largest
# message for its envelope.
_ENVELOPE_BYTES = 1 << 20
_REQUEST_BYTES = 5 << 20  # of clients: no dialect has entries above 4 MiB
SMALL_BYTES = 64 << 10  # of those who ask for health or descriptions: names are all they send
# A peer that acknowledges nothing for this long (seconds) is dialled again: after a partition
# the kernel's own retransmissions can stand still for minutes.
_SILENCE_TIMEOUT = 5.0
_RECONNECT_MIN, _RECONNECT_MAX = 0.1, 1.0  # seconds: a peer that comes back is needed soon


@asynccontextmanager
async def open_host(
    *,
    node_id: NodeId,
    address: str,
    data: Path | None,
    cluster: str,
    dialect: Dialect,
    environment: Environment,
    links: LinkSettings | None = None,
    rest: RestSettings | None = None,
) -> AsyncIterator[Host]:
    """A host for as long as the block: its address is taken and its disk is open.

    links, rest: for a host of many groups; without them each group sends its own heartbeats, as
        its dialect does, and never rests. `rest` needs `links`.

    The address comes first: a node that is started twice must not touch its disk. Leaving or
    cancelling the block stops everything that runs in it, groups before the disk.
    """
    async with AsyncExitStack() as stack:
        listeners = await environment.listen(address)
        for listener in listeners:
            stack.push_async_callback(listener.aclose)
        disk = await stack.enter_async_context(
            environment.open_disk(data, node_id=node_id, cluster=cluster)
        )
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        host = Host(
            node_id=node_id,
            address=address,
            cluster=cluster,
            dialect=dialect,
            environment=environment,
            disk=disk,
            listeners=listeners,
            nursery=nursery,
        )
        if links is not None:
            host.use_links(links, rest)
        yield host


class Host:
    """Implements `node.PeerRouter`. Get one from `open_host`; everything lives in its nursery."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        address: str,
        cluster: str,
        dialect: Dialect,
        environment: Environment,
        disk: Disk,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
        nursery: trio.Nursery,
    ) -> None:
        self.node_id = node_id
        self.address = address
        self.cluster = cluster
        self.dialect = dialect
        self.start = nursery.start
        self._environment = environment
        self._disk = disk
        self._listeners = listeners
        self._nursery = nursery
        self._server: Server | None = None  # once it serves
        self._groups: dict[bytes, Group] = {}
        self._running: dict[bytes, _Running] = {}
        self._resting: Resting | None = None
        self._links: LinkPool | None = None
        self._link_timeout = 0.0
        self._limits = Limits(
            max_receive_message=dialect.max_message_bytes + _ENVELOPE_BYTES,
            max_send_message=dialect.max_message_bytes + _ENVELOPE_BYTES,
            reconnect_min=_RECONNECT_MIN,
            reconnect_max=_RECONNECT_MAX,
            idle_timeout=math.inf,
            silence_timeout=_SILENCE_TIMEOUT,
        )
        self._channels = ChannelPool(nursery, environment, self._limits)

    def use_links(self, links: LinkSettings, rest: RestSettings | None) -> None:
        """Send the heartbeats of all groups to one peer together, and put idle groups to rest."""
        resting = self._resting = Resting(
            self.node_id,
            rest or RestSettings(idle_after=math.inf),
        )
        self._links = LinkPool(
            nursery=self._nursery,
            node_id=self.node_id,
            settings=links,
            rng=random.Random(self._environment.rng.getrandbits(64)),
            on_change=resting.link_changed,
            on_rest=resting.rest_answered,
        )
        resting.use(self._links)
        self._link_timeout = links.timeout
        self._nursery.start_soon(resting.run)

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
                connector=_Connector(self, group_id, self._channels, self._links),
                rng=random.Random(self._environment.rng.getrandbits(64)),
                clock_rate=self._environment.clock_rate,
            )
        except BaseException:
            await storage.aclose()
            raise
        running = _Running(group, storage)
        self._groups[group_id] = group
        self._running[group_id] = running
        if self._resting is not None:
            self._resting.add(group)
        self._nursery.start_soon(running.run)
        return group

    async def stop_group(self, group_id: bytes, *, delete: bool = False) -> None:
        """Stop a group and close its storage; with `delete`, remove its files.

        Raises UnknownGroupError, StorageError. Once begun, it is carried out even if cancelled.
        """
        self.find_group(group_id)
        del self._groups[group_id]
        if self._resting is not None:
            self._resting.remove(group_id)
        running = self._running.pop(group_id)
        running.scope.cancel()
        with trio.CancelScope(shield=True):
            await running.ended.wait()
            if delete:
                await self._disk.delete_group(group_id)

    # -- peers

    def channel_to(self, member: Member) -> Channel:
        """The bulk channel to a peer: entries, snapshots, forwarded calls.

        Raises PeerUnreachableError if no group here has a peer at that address.
        """
        pair = self._channels.find(member.address)
        if pair is None:
            raise PeerUnreachableError(f"{member.id} at {member.address} is not a peer any more")
        return pair.bulk

    def visit(self, address: str) -> AbstractContextManager[Channel]:
        """A channel to any trioraft node, for the length of the block."""
        return self._channels.visit(address)

    # -- listeners

    async def serve(
        self, services: Sequence[Service], *, uds: str | None = None, reflection: bool = False
    ) -> None:
        """Serve peers and `services` on the host's address, and on a Unix socket if given.

        reflection: describe all of them to whoever asks (gRPC server reflection).

        Only the services of peers take messages as large as the dialect's; the others' requests
        are bounded by 5 MiB, the largest entry and its envelope, or by what `rpc.Limited` around
        one of them says. A stop does not wait for the streams of peers. Raises OSError when the
        Unix socket can't be bound.
        """
        large = self._limits.max_receive_message
        peers = [*self.dialect.services(self), SnapshotService(self), *self._link_services()]
        every: list[Service] = [*(Unawaited(Limited(it, large)) for it in peers), *services]
        if reflection:
            every.append(Limited(ReflectionService(every), SMALL_BYTES))
        limits = replace(self._limits, max_receive_message=_REQUEST_BYTES)
        server = Server(every, {"listeners": self._listeners, "uds": uds, "limits": limits})
        await self._nursery.start(server.run)
        self._server = server

    async def stop(self, grace: float | None, notice: float) -> None:
        """Stop serving in good order; see `Node.stop`. The groups run on. Only once it serves."""
        assert self._server is not None
        await stop_in_order(self._server, self.groups, grace, notice)

    def _link_services(self) -> list[Service]:
        if self._resting is None:
            return []
        return [LinkService(self, self._resting, timeout=self._link_timeout)]


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


class _Connector:
    """Implements `node.PeerConnector` for one group: its share of the host's channels."""

    def __init__(
        self, host: Host, group_id: bytes, channels: ChannelPool, links: LinkPool | None
    ) -> None:
        self._host = host
        self._group_id = group_id
        self._channels = channels
        self._links = links

    def connect(self, peer: Member) -> PeerTransport:
        pair = self._channels.acquire(peer.address)
        transport = self._host.dialect.transport(
            group_id=self._group_id,
            self_id=self._host.node_id,
            peer=peer,
            entries=pair.bulk,
            heartbeats=pair.urgent,
        )
        transport = SnapshotTransport(transport, pair.bulk, self._group_id, peer)
        if self._links is None:
            return transport
        link = self._links.acquire(peer, pair.urgent)
        return LinkedTransport(transport, link, self._group_id, peer)

    def disconnect(self, peer: Member) -> None:
        if self._links is not None:
            self._links.release(peer)
        self._channels.release(peer.address)
