"""`open_node`: what an application or the command line calls to run a node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Unpack
from uuid import UUID

from trioraft.node import RuntimeSettings, StateMachine
from trioraft.protocols import dialect as find_dialect
from trioraft.protocols.local.link import LinkSettings
from trioraft.raft.config import RaftConfig
from trioraft.raft.errors import ConfigurationError
from trioraft.raft.types import Configuration, Member
from trioraft.rpc import Limited, Service
from trioraft.rpc.keywords import check_keywords
from trioraft.rpc.running import need_trio
from trioraft.rpc.services import HealthService

from .environment import split_address
from .health import follow_health, health_names
from .host import SMALL_BYTES, open_host
from .members import bootstrap, group_id_of
from .node import Node
from .options import HostOptions
from .plain_errors import plain_errors
from .server import Server

__all__ = ["open_node"]


@asynccontextmanager
async def open_node(
    *,
    id: str,
    machine: StateMachine,
    peers: str | Mapping[str, str] | None = None,
    priorities: Mapping[str, int] | None = None,
    join: bool = False,
    listen: str | None = None,
    group_id: UUID | None = None,
    services: Callable[[Node], Sequence[Service]] | None = None,
    health: HealthService | None = None,
    config: RaftConfig | None = None,
    settings: RuntimeSettings | None = None,
    **options: Unpack[HostOptions],
) -> AsyncIterator[Node]:
    """Run a node of a replicated group for as long as the block.

    Args:
        id: this node's id, one of `peers`.
        machine: the state machine to replicate.
        peers: id to `host:port` of every voter, this node included, the same on every node.
            Read when the group is made; from then on the log knows the members.
        priorities: of peers by id, the same on every node; 0 for those that are left out. Of
            candidates with equally good logs the higher one is elected (`ratis` only).
        join: instead of `peers`: begin without members and wait until the group's leader is
            told to add this node (`Node.add_member`, `trioraft admin add`). Needs `listen`.
        listen: address to serve peers and clients on; by default this node's in `peers`.
        group_id: the group's id, if servers of another make have one already (docs/ratis.md); the
            same on every node, and at every start. By default derived from `cluster`.
        services: more services to serve on the address, given the node.
        health: a health service to serve. The status of the server as a whole, and of each of
            `services`, follows the group: see `follow_health`.
        config, settings: rules of consensus, and bounds of the runtime.
        options: data directory, dialect, sockets and the like: see `HostOptions`. Without `links`
            and `rest` the group never rests.

    Raises ConfigurationError, DataDirectoryError, CorruptionError, OSError (address in use),
    TypeError (no such option).
    Leaving or cancelling the block stops the node and ends every call at once, with UNAVAILABLE;
    nothing that was acknowledged is lost. `await node.stop(grace=...)` before is the friendly way:
    it hands leadership over, so that clients need not wait for an election, and lets calls end.
    """
    need_trio("open_node")
    check_keywords("open_node()", HostOptions, options)
    configuration = bootstrap(id, peers, join, priorities)
    address = _address(id, configuration, listen)
    dialect = find_dialect(options.get("wire", "ratis"))
    dialect.check_members(Configuration((Member(id, address), *configuration.members())))
    if options.get("rest") is not None and options.get("links") is None:
        options["links"] = LinkSettings()
    opened = open_host(node_id=id, address=address, dialect=dialect, options=options)
    async with plain_errors() as body, opened as host:
        server = Server(host)
        founded = group_id.bytes if group_id else group_id_of(host.cluster)
        node = await server.start_group("", founded, configuration, machine, config, settings)
        offered = list(services(node)) if services else []
        if health is not None:
            await host.start(follow_health, node, health, health_names(offered))
            offered.append(Limited(health, SMALL_BYTES))
        await server.serve(offered, options)
        with body:
            yield node


def _address(node_id: str, configuration: Configuration, listen: str | None) -> str:
    """Where to listen. Raises ConfigurationError if nobody has said so."""
    if listen is None:
        member = configuration.member(node_id)
        if member is None:
            raise ConfigurationError("join: say where to listen, e.g. listen='10.0.0.5:7101'")
        return member.address
    split_address(listen)
    return listen
