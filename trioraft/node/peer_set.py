"""The peers of one group: a transport to each member but this node, as the configuration has it.

The set follows the core from inside the driver's turn, so nothing here waits. A peer that has
left is unreachable from then on; one whose address has changed gets a new transport.
"""

from __future__ import annotations

from collections.abc import Iterable

from trioraft.raft.types import Member, NodeId

from .peers import PeerConnector, PeerTransport, PeerUnreachableError

__all__ = ["PeerSet"]


class PeerSet:
    """Transports by node id. `close` gives all of them back to the connector."""

    def __init__(self, node_id: NodeId, connector: PeerConnector) -> None:
        self._node_id = node_id
        self._connector = connector
        self._peers: dict[NodeId, tuple[Member, PeerTransport]] = {}

    def follow(self, members: Iterable[Member]) -> None:
        """Reach exactly these members, whoever of them is this node left out. Idempotent."""
        wanted = {member.id: member for member in members if member.id != self._node_id}
        for node_id, (known, _) in list(self._peers.items()):
            member = wanted.get(node_id)
            if member is None or member.address != known.address:
                del self._peers[node_id]
                self._connector.disconnect(known)
        for node_id, member in wanted.items():
            if node_id not in self._peers:
                self._peers[node_id] = (member, self._connector.connect(member))

    def transport(self, node_id: NodeId) -> PeerTransport:
        """How to reach a peer. Raises PeerUnreachableError if it is none (any more)."""
        peer = self._peers.get(node_id)
        if peer is None:
            raise PeerUnreachableError(f"{node_id} is not a peer of this group any more")
        return peer[1]

    def members(self) -> tuple[Member, ...]:
        """Everybody who is reached, in the configuration's order where it is new."""
        return tuple(member for member, _ in self._peers.values())

    def close(self) -> None:
        """Give every transport back: the group has stopped. Idempotent."""
        self.follow(())
