"""How a host reaches the peers of its groups: by channels and links that all groups share.

One pair of channels per address. With many groups also one link per peer, on which their
heartbeats travel together.
"""

from __future__ import annotations

import math
import random
from contextlib import AbstractContextManager

import trio

from trioraft.node import PeerTransport, PeerUnreachableError
from trioraft.protocols.dialect import Dialect
from trioraft.protocols.local.link import LinkedTransport, LinkSettings
from trioraft.protocols.local.snapshots import SnapshotTransport
from trioraft.raft.types import Member, NodeId
from trioraft.rpc import Channel, Limits

from .channels import ChannelPool
from .environment import Environment
from .links import LinkPool
from .resting import Resting, RestSettings

__all__ = ["Peers"]


class Peers:
    """The peers of all groups of one host. Its tasks run in the host's nursery.

    limits: of the connections, as long as peers have them.
    resting: puts idle groups to rest, once `use_links` has been called.
    """

    def __init__(
        self,
        *,
        node_id: NodeId,
        dialect: Dialect,
        environment: Environment,
        limits: Limits,
        nursery: trio.Nursery,
    ) -> None:
        self.resting: Resting | None = None
        self.channels = ChannelPool(nursery, environment, limits)
        self._node_id = node_id
        self._dialect = dialect
        self._environment = environment
        self._nursery = nursery
        self._links: LinkPool | None = None

    def use_links(self, links: LinkSettings, rest: RestSettings | None) -> None:
        """Send the heartbeats of all groups to one peer together, and put idle groups to rest."""
        resting = self.resting = Resting(
            self._node_id,
            rest or RestSettings(idle_after=math.inf),
        )
        self._links = LinkPool(
            nursery=self._nursery,
            node_id=self._node_id,
            settings=links,
            rng=random.Random(self._environment.rng.getrandbits(64)),
            on_change=resting.link_changed,
            on_rest=resting.rest_answered,
        )
        resting.use(self._links)
        self._nursery.start_soon(resting.run)

    def connector(self, group_id: bytes) -> GroupPeers:
        """One group's share of them, from now on."""
        return GroupPeers(self._dialect, self._node_id, group_id, self.channels, self._links)

    def channel_to(self, member: Member) -> Channel:
        """The bulk channel to a peer: entries, snapshots, forwarded calls.

        Raises PeerUnreachableError if no group here has a peer at that address.
        """
        pair = self.channels.find(member.address)
        if pair is None:
            raise PeerUnreachableError(f"{member.id} at {member.address} is not a peer any more")
        return pair.bulk

    def visit(self, address: str) -> AbstractContextManager[Channel]:
        """A channel to any trioraft node, for the length of the block."""
        return self.channels.visit(address)


class GroupPeers:
    """Implements `node.PeerConnector` for one group: its share of the host's channels."""

    def __init__(
        self,
        dialect: Dialect,
        self_id: NodeId,
        group_id: bytes,
        channels: ChannelPool,
        links: LinkPool | None,
    ) -> None:
        self._dialect = dialect
        self._self_id = self_id
        self._group_id = group_id
        self._channels = channels
        self._links = links

    def connect(self, peer: Member) -> PeerTransport:
        pair = self._channels.acquire(peer.address)
        transport = self._dialect.transport(
            group_id=self._group_id,
            self_id=self._self_id,
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
