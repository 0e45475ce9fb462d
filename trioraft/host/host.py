"""The host: one per process. Listeners, peer channels, and groups by their id.

host
├── listeners           one nursery per connection, one cancel scope per call (rpc/)
├── peer connections    one pair of channels per address, shared by all groups (channels.py)
├── links               with many groups: heartbeats of all of them to one peer, together (links.py)
├── resting             with many groups: puts idle ones to rest and wakes them (resting.py)
└── group × N           one failing group never takes down another (groups.py)
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from trioraft.protocols.dialect import Dialect
from trioraft.protocols.local.link import LinkService, LinkSettings
from trioraft.protocols.local.snapshots import SnapshotService
from trioraft.raft.types import NodeId
from trioraft.rpc import Limited, Limits, Server, Service, Unawaited
from trioraft.rpc.services import ReflectionService

from .environment import Disk, Environment, RealEnvironment
from .groups import Groups
from .options import HostOptions
from .peers import Peers
from .resting import RestSettings
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
    dialect: Dialect,
    options: HostOptions,
) -> AsyncIterator[Host]:
    """A host for as long as the block: its address is taken and its disk is open.

    Of the options `links` and `rest` are for a host of many groups; without them each group sends
    its own heartbeats, as its dialect does, and never rests. `rest` needs `links`.

    The address comes first: a node that is started twice must not touch its disk. Leaving or
    cancelling the block stops everything that runs in it, groups before the disk.
    """
    environment = options.get("environment") or RealEnvironment()
    cluster = options.get("cluster", "trioraft")
    data = options.get("data")
    async with AsyncExitStack() as stack:
        listeners = await environment.listen(address)
        for listener in listeners:
            stack.push_async_callback(listener.aclose)
        disk = await stack.enter_async_context(
            environment.open_disk(
                None if data is None else Path(data), node_id=node_id, cluster=cluster
            )
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
        links = options.get("links")
        if links is not None:
            host.use_links(links, options.get("rest"))
        yield host


class Host(Groups):
    """Get one from `open_host`; everything lives in its nursery."""

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
        self._limits = Limits(
            max_receive_message=dialect.max_message_bytes + _ENVELOPE_BYTES,
            max_send_message=dialect.max_message_bytes + _ENVELOPE_BYTES,
            reconnect_min=_RECONNECT_MIN,
            reconnect_max=_RECONNECT_MAX,
            idle_timeout=math.inf,
            silence_timeout=_SILENCE_TIMEOUT,
        )
        peers = Peers(
            node_id=node_id,
            dialect=dialect,
            environment=environment,
            limits=self._limits,
            nursery=nursery,
        )
        super().__init__(
            node_id=node_id,
            dialect=dialect,
            environment=environment,
            disk=disk,
            peers=peers,
            nursery=nursery,
        )
        self.address = address
        self.cluster = cluster
        self.start = nursery.start
        self.channel_to = peers.channel_to
        self.visit = peers.visit
        self._listeners = listeners
        self._server: Server | None = None  # once it serves
        self._link_timeout = 0.0

    def use_links(self, links: LinkSettings, rest: RestSettings | None) -> None:
        """Send the heartbeats of all groups to one peer together, and put idle groups to rest."""
        self._peers.use_links(links, rest)
        self._link_timeout = links.timeout

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
        if self._peers.resting is None:
            return []
        return [LinkService(self, self._peers.resting, timeout=self._link_timeout)]
