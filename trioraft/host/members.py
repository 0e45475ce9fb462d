"""Who the members of a new group are, and what its id is: the same on every server."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from trioraft.raft.errors import ConfigurationError
from trioraft.raft.types import Configuration, Member

from .environment import split_address

__all__ = ["bootstrap", "group_id_of", "parse_peers"]

_NAMESPACE = uuid.UUID("6d9f6c7e-6f0b-5a55-9d4c-5d1f6c6f7261")


def group_id_of(cluster: str, name: str = "") -> bytes:
    """The 16-byte id of a cluster's group; `name` is empty for the one of `open_node`."""
    return uuid.uuid5(_NAMESPACE, f"{cluster}\0{name}" if name else cluster).bytes


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


def bootstrap(
    node_id: str,
    peers: str | Mapping[str, str] | None,
    join: bool,
    priorities: Mapping[str, int] | None = None,
) -> Configuration:
    """The members that a new group begins with: `peers`, or nobody for one that joins.

    priorities: of some of them in elections; the others have 0. Raises ConfigurationError.
    """
    if join:
        if peers is not None or priorities:
            raise ConfigurationError("join: a node that joins learns its peers; leave `peers` out")
        return Configuration(())
    if peers is None:
        raise ConfigurationError("peers: name every node of the group, or join a group there is")
    addresses = parse_peers(peers) if isinstance(peers, str) else dict(peers)
    if node_id not in addresses:
        raise ConfigurationError(f"id {node_id!r} is not in peers ({', '.join(addresses)})")
    given = priorities or {}
    for member, priority in given.items():
        if member not in addresses:
            raise ConfigurationError(f"priorities: {member!r} is not in peers")
        if not 0 <= priority < 2**31:
            raise ConfigurationError(f"priorities: {priority} of {member}: from 0 to 2^31-1")
    return Configuration(
        tuple(Member(member, at, given.get(member, 0)) for member, at in addresses.items())
    )
