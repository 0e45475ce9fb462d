"""`open_node`: what an application or the command line calls to run a node."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from trioraft.node import RuntimeSettings, StateMachine
from trioraft.protocols import dialect as find_dialect
from trioraft.protocols.local import AdminService, GrpcForwarder, NodeService
from trioraft.raft.config import RaftConfig
from trioraft.raft.errors import ConfigurationError
from trioraft.raft.types import Configuration, Member
from trioraft.rpc import Service

from .environment import Environment, RealEnvironment, split_address
from .host import open_host
from .management import serve_management
from .node import Node
from .plain_errors import plain_errors

__all__ = ["group_id_of", "open_node", "parse_peers"]

_NAMESPACE = uuid.UUID("6d9f6c7e-6f0b-5a55-9d4c-5d1f6c6f7261")


def group_id_of(cluster: str) -> bytes:
    """The 16-byte id of a cluster's group, the same on every node."""
    return uuid.uuid5(_NAMESPACE, cluster).bytes


def parse_peers(text: str) -> dict[str, str]:
    """`n1=host:port,n2=host:port` as {id: address}. Raises ConfigurationError."""
    peers: dict[str, str] = {}
    for part in text.split(","):
        node_id, equals, address = part.strip().partition("=")
        if not equals or not node_id:
            raise ConfigurationError(f"peers: {part!r} is not ID=HOST:PORT")
        if node_id in peers:
            raise ConfigurationError(f"peers: {node_id} is there twice")
        split_address(address)
        peers[node_id] = address
    return peers


@asynccontextmanager
async def open_node(
    *,
    id: str,
    machine: StateMachine,
    peers: str | Mapping[str, str] | None = None,
    join: bool = False,
    listen: str | None = None,
    data: str | Path | None = None,
    wire: str = "ratis",
    cluster: str = "trioraft",
    services: Callable[[Node], Sequence[Service]] | None = None,
    uds: str | None = None,
    drpc: str | None = None,
    config: RaftConfig | None = None,
    settings: RuntimeSettings | None = None,
    environment: Environment | None = None,
) -> AsyncIterator[Node]:
    """Run a node of a replicated group for as long as the block.

    Args:
        id: this node's id, one of `peers`.
        machine: the state machine to replicate.
        peers: id to `host:port` of every voter, this node included, the same on every node.
            Read when the group is made; from then on the log knows the members.
        join: instead of `peers`: begin without members and wait until the group's leader is
            told to add this node (`Node.add_member`, `trioraft admin add`). Needs `listen`.
        listen: address to serve peers and clients on; by default this node's in `peers`.
        data: data directory; None keeps log and snapshots in memory (a crash forgets them:
            for tests only).
        wire: the dialect between peers, `ratis` or `openraft`; the same on every node.
        cluster: name of the cluster; its group id is derived from it.
        services: more services to serve on the address, given the node.
        uds, drpc: paths of Unix sockets for the same gRPC services, and for dRPC management.
        config, settings: rules of consensus, and bounds of the runtime.
        environment: the outside world; the simulator hands in its own.

    Raises ConfigurationError, DataDirectoryError, CorruptionError, OSError (address in use).
    Leaving or cancelling the block stops the node at once; call `transfer_leadership` before,
    so that clients need not wait for an election.
    """
    configuration, address = _bootstrap(id, peers, join, listen)
    config = config or RaftConfig()
    dialect = find_dialect(wire)
    dialect.check_members(Configuration((Member(id, address), *configuration.members())))
    group_id = group_id_of(cluster)
    host_opened = open_host(
        node_id=id,
        address=address,
        data=None if data is None else Path(data),
        cluster=cluster,
        dialect=dialect,
        environment=environment or RealEnvironment(),
    )
    async with plain_errors() as body, host_opened as host:
        group = await host.start_group(
            group_id=group_id,
            configuration=configuration,
            config=config,
            settings=settings or RuntimeSettings(),
            machine=machine,
        )
        patience = 10 * config.election_timeout_max
        node = Node(
            host=host,
            group=group,
            forwarder=GrpcForwarder(group_id, host.channel_to, patience),
            patience=patience,
            retry_interval=config.heartbeat_interval,
        )
        await host.serve(
            [NodeService(node), AdminService(node), *(services(node) if services else ())], uds=uds
        )
        if drpc is not None:
            await host.start(partial(serve_management, node, drpc))
        with body:
            yield node


def _bootstrap(
    node_id: str, peers: str | Mapping[str, str] | None, join: bool, listen: str | None
) -> tuple[Configuration, str]:
    """The configuration that a new group begins with, and where this node listens."""
    if join:
        if peers is not None:
            raise ConfigurationError("join: a node that joins learns its peers; leave `peers` out")
        if listen is None:
            raise ConfigurationError("join: say where to listen, e.g. listen='10.0.0.5:7101'")
        split_address(listen)
        return Configuration(()), listen
    if peers is None:
        raise ConfigurationError("peers: name every node of the group, or join a group there is")
    addresses = parse_peers(peers) if isinstance(peers, str) else dict(peers)
    if node_id not in addresses:
        raise ConfigurationError(f"id {node_id!r} is not in peers ({', '.join(addresses)})")
    members = tuple(Member(member, address) for member, address in addresses.items())
    return Configuration(members), listen or addresses[node_id]
