"""Peers and configurations: RaftPeerProto and RaftConfigurationProto <-> Member and Configuration.

A peer's own client, admin and data stream addresses have no place in a Member: they are read
past. Old listeners of a joint configuration neither vote nor count, and are read past too.
"""

from __future__ import annotations

from collections.abc import Iterable

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.raft.types import Configuration, Member, NodeId

__all__ = [
    "check_peer_id",
    "decode_configuration",
    "decode_peer",
    "decode_peer_id",
    "encode_configuration",
    "encode_peer",
]

MAX_PRIORITY = 2**31 - 1  # a Java int
_MAX_ID_BYTES = 1024


def check_peer_id(node_id: NodeId) -> bytes:
    """The wire form of a node id. Raises ValueError if Ratis would not take it."""
    raw = node_id.encode()
    if not 0 < len(raw) <= _MAX_ID_BYTES:
        raise ValueError(f"peer id of {len(raw)} bytes: must be 1 to {_MAX_ID_BYTES}")
    return raw


def decode_peer_id(raw: bytes) -> NodeId:
    """Raises ValueError for empty bytes, oversized ones, and bytes that are not UTF-8."""
    if not 0 < len(raw) <= _MAX_ID_BYTES:
        raise ValueError(f"peer id of {len(raw)} bytes: must be 1 to {_MAX_ID_BYTES}")
    return raw.decode()


def encode_peer(member: Member, *, listener: bool = False) -> pb.RaftPeerProto:
    """A peer with its role at start-up, which Java peers always set and therefore expect."""
    return pb.RaftPeerProto(
        id=check_peer_id(member.id),
        address=member.address,
        priority=member.priority,
        startupRole=pb.LISTENER if listener else pb.FOLLOWER,
    )


def decode_peer(peer: pb.RaftPeerProto) -> Member:
    """Raises ValueError for a bad id, a priority that is no Java int, a role no peer starts in."""
    if peer.priority > MAX_PRIORITY:
        raise ValueError(f"peer {peer.id!r}: priority {peer.priority} is above {MAX_PRIORITY}")
    if peer.HasField("startupRole") and peer.startupRole not in (pb.FOLLOWER, pb.LISTENER):
        raise ValueError(f"peer {peer.id!r}: startup role {peer.startupRole}")
    return Member(decode_peer_id(peer.id), peer.address, peer.priority)


def encode_configuration(configuration: Configuration) -> pb.RaftConfigurationProto:
    """`oldPeers` is set exactly while the configuration is joint."""
    return pb.RaftConfigurationProto(
        peers=[encode_peer(member) for member in configuration.voters],
        oldPeers=[encode_peer(member) for member in configuration.old_voters],
        listeners=[encode_peer(member, listener=True) for member in configuration.learners],
    )


def decode_configuration(proto: pb.RaftConfigurationProto) -> Configuration:
    """Raises ValueError for a bad peer, or one named twice in a list or in both roles."""
    voters = _decode_peers(proto.peers)
    learners = _decode_peers(proto.listeners)
    _require_unique((*voters, *learners))
    old = _decode_peers(proto.oldPeers)
    _require_unique(old)
    return Configuration(voters, learners, old)


def _decode_peers(peers: Iterable[pb.RaftPeerProto]) -> tuple[Member, ...]:
    return tuple(decode_peer(peer) for peer in peers)


def _require_unique(members: tuple[Member, ...]) -> None:
    seen: set[NodeId] = set()
    for member in members:
        if member.id in seen:
            raise ValueError(f"peer {member.id!r} is named twice in a configuration")
        seen.add(member.id)
