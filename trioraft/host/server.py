"""`open_server`: many groups on one address, one disk and one set of connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Unpack
from uuid import UUID

import trio

from trioraft._proto.local.node_pb2 import StatusReply
from trioraft.node import RuntimeSettings, StateMachine, UnknownGroupError
from trioraft.protocols import dialect as find_dialect
from trioraft.protocols.local import AdminService, GrpcForwarder, NodeService, status_message
from trioraft.protocols.local.link import LinkSettings
from trioraft.raft.config import RaftConfig
from trioraft.raft.errors import ConfigurationError
from trioraft.raft.types import Configuration
from trioraft.rpc import Limited, Service
from trioraft.rpc.keywords import check_keywords
from trioraft.rpc.running import need_trio
from trioraft.rpc.services import HealthService

from .health import follow_health
from .host import SMALL_BYTES, Host, open_host
from .management import serve_management
from .members import bootstrap, group_id_of
from .node import Node
from .options import HostOptions
from .plain_errors import plain_errors
from .resting import RestSettings

__all__ = ["Server", "open_server"]

_PATIENCE = 10  # election timeouts that a call waits for a leader


class Server:
    """The groups of one host by name; implements what the local services ask for.

    Every method can be called from any task of the Trio run.
    """

    def __init__(self, host: Host, health: HealthService | None = None) -> None:
        """health: where each group has a status, under its name."""
        self._host = host
        self._health = health
        self._followed: dict[str, trio.CancelScope] = {}
        self._nodes: dict[str, Node] = {}
        self._by_id: dict[bytes, Node] = {}
        self.id = host.node_id
        self.address = host.address
        self.cluster = host.cluster

    @property
    def groups(self) -> Mapping[str, Node]:
        """The open groups: this server's node of each, by name, in the order of opening."""
        return dict(self._nodes)

    async def open_group(
        self,
        name: str,
        machine: StateMachine,
        *,
        peers: str | Mapping[str, str] | None = None,
        priorities: Mapping[str, int] | None = None,
        join: bool = False,
        group_id: UUID | None = None,
        config: RaftConfig | None = None,
        settings: RuntimeSettings | None = None,
    ) -> Node:
        """Run this server's replica of a group until `close_group`, or the server's end.

        name: what the group is called on every server; its id is derived from it and the cluster.
        peers: id to `host:port` of every voter, this server included, the same on every server.
            Read when the group is made; from then on its log knows the members.
        priorities: of peers by id, the same on every server; 0 for those that are left out. Of
            candidates with equally good logs the higher one is elected (`ratis` only).
        join: instead of `peers`: begin without members and wait to be added.
        group_id: instead of one derived from names, as for `open_node`.

        Raises ConfigurationError (also for a name that is open already), CorruptionError,
        StorageError. Cancelling may leave the group open: `close_group` it.
        """
        if not name:
            raise ConfigurationError("a group needs a name")
        if name in self._nodes:
            raise ConfigurationError(f"group {name!r} is open on server {self.id} already")
        configuration = bootstrap(self.id, peers, join, priorities)
        chosen = group_id.bytes if group_id else group_id_of(self.cluster, name)
        return await self.start_group(name, chosen, configuration, machine, config, settings)

    async def start_group(
        self,
        name: str,
        group_id: bytes,
        configuration: Configuration,
        machine: StateMachine,
        config: RaftConfig | None,
        settings: RuntimeSettings | None,
    ) -> Node:
        """As `open_group`, with the id and the members as they are."""
        config = config or RaftConfig()
        settings = settings or RuntimeSettings()
        group = await self._host.start_group(
            group_id=group_id,
            configuration=configuration,
            config=config,
            settings=settings,
            machine=machine,
        )
        patience = _PATIENCE * config.election_timeout_max
        node = Node(
            host=self._host,
            group=group,
            forwarder=GrpcForwarder(
                group_id,
                self._host.channel_to,
                patience,
                partial(
                    self._host.dialect.read_index, group_id=group_id, self_id=self._host.node_id
                ),
            ),
            patience=patience,
            retry_interval=config.heartbeat_interval,
            max_reads=settings.max_reads,
        )
        self._nodes[name] = self._by_id[group_id] = node
        if self._health is not None and name:
            await self._host.start(self._follow, name, node, self._health)
        return node

    async def close_group(self, name: str, *, delete: bool = False) -> None:
        """Stop this server's replica of a group; returns when its storage is closed.

        delete: remove its log and snapshots from the disk, too. A replica that was deleted may
            come back only under another server id, or after it was removed from the members:
            it has forgotten its vote.

        Raises UnknownGroupError, StorageError. Once begun, it is carried out even if cancelled.
        """
        node = self._nodes.get(name)
        if node is None:
            raise UnknownGroupError(f"server {self.id} has no group {name!r}")
        group_id = node.status().group_id
        del self._nodes[name], self._by_id[group_id]
        if self._health is not None and name in self._followed:
            self._followed.pop(name).cancel()
            self._health.remove(name)
        await self._host.stop_group(group_id, delete=delete)

    async def stop(self, grace: float | None = None, *, notice: float = 0.0) -> None:
        """Stop serving in good order, as `Node.stop` does, for all groups: each that is led here
        is handed over. They run until the block is left, which is to follow.
        """
        await self._host.stop(grace, notice)

    async def _follow(
        self, name: str, node: Node, health: HealthService, *, task_status: trio.TaskStatus[None]
    ) -> None:
        with trio.CancelScope() as self._followed[name]:
            await follow_health(node, health, [name], task_status=task_status)

    # -- for the services

    def access(self, group_id: bytes) -> Node:
        """The node of a group, or of the only one for b"". Raises UnknownGroupError."""
        node = self._by_id.get(group_id)
        if node is None:
            node = self._by_id[self._host.find_group(group_id).group_id]
        return node

    def status_reply(self) -> StatusReply:
        """The server's status as a message of trioraft's own protocol."""
        return StatusReply(
            node_id=self.id,
            cluster=self.cluster,
            version=version("trioraft"),
            wire=self._host.dialect.name,
            address=self.address,
            groups=[status_message(node.status(), name) for name, node in self._nodes.items()],
        )

    async def serve(self, services: Sequence[Service], options: HostOptions) -> None:
        """Begin to serve peers, clients and `services`. Raises OSError for a socket in use."""
        ours: list[Service] = [NodeService(self), AdminService(self)]
        await self._host.serve(
            [*ours, *services],
            uds=options.get("uds"),
            reflection=options.get("reflection", False),
        )
        drpc = options.get("drpc")
        if drpc is not None:
            await self._host.start(partial(serve_management, self, drpc))


@asynccontextmanager
async def open_server(
    *,
    id: str,
    listen: str,
    services: Sequence[Service] = (),
    health: HealthService | None = None,
    **options: Unpack[HostOptions],
) -> AsyncIterator[Server]:
    """Host many groups for as long as the block; open them with `Server.open_group`.

    They share the address, one pair of connections per peer, and the thread that syncs the disk.
    The heartbeats between two servers travel together, and groups in which nothing happens rest:
    then they cost nothing until somebody asks them for something.

    Args:
        id: this server's id in all of its groups.
        listen: `host:port` for peers and clients.
        services: more services to serve on the address.
        health: a health service to serve. Each group has a status under its name, which follows
            it (`follow_health`) and goes with it; the server as a whole is SERVING.
        options: data directory, dialect, sockets and the like: see `HostOptions`. `links` and
            `rest` say when, and not whether.

    Raises ConfigurationError, DataDirectoryError, CorruptionError, OSError (address in use),
    TypeError (no such option).
    Leaving or cancelling the block stops every group and ends every call at once, with
    UNAVAILABLE; `await server.stop(grace=...)` before is the friendly way.
    """
    need_trio("open_server")
    check_keywords("open_server()", HostOptions, options)
    options["links"] = options.get("links") or LinkSettings()
    options["rest"] = options.get("rest") or RestSettings()
    dialect = find_dialect(options.get("wire", "ratis"))
    opened = open_host(node_id=id, address=listen, dialect=dialect, options=options)
    async with plain_errors() as body, opened as host:
        server = Server(host, health)
        offered = [*services] if health is None else [*services, Limited(health, SMALL_BYTES)]
        await server.serve(offered, options)
        with body:
            yield server
