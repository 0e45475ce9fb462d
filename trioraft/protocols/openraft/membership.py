"""Memberships: openraft's Membership and StoredMembership <-> Configuration.

A membership is one set of voters, or two (old, new) while joint, and a map of all nodes with
their addresses; who is in no set is a learner. Addresses are URIs there (`http://host:port`)
and targets here (`host:port`); another scheme is kept as it is. Sets and maps go by ascending
number, which is the order that a decoded configuration has.

While joint, the wire does not say whether an old voter is being removed or becomes a learner. It is
read as removed: if the leader dies in between, a member that was being demoted must be added again.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from trioraft.raft.types import NO_INDEX, Configuration, Member, SnapshotMeta

from .terms import node_number
from .values import integer, log_id_value, read_log_id, struct

__all__ = [
    "membership_value",
    "read_membership",
    "read_stored_membership",
    "stored_membership_value",
]

_SCHEME = "http://"


def membership_value(configuration: Configuration) -> list[Any]:
    """[[voters], {node: [address]}]. Raises ValueError for an id that is no number."""
    sets = [
        sorted(node_number(member.id) for member in voters)
        for voters in (configuration.old_voters, configuration.voters)
        if voters
    ]
    members = sorted(configuration.members(), key=lambda member: node_number(member.id))
    return [sets, {node_number(member.id): _node_value(member.address) for member in members}]


def read_membership(value: Any) -> Configuration:
    """Raises ValueError for anything but a membership in which every voter is a node."""
    sets, nodes = struct(value, ("configs", "nodes"))
    if not isinstance(sets, list) or not isinstance(nodes, dict):
        raise ValueError("a membership is a list of sets and a map of nodes")
    if len(sets) > 2:
        raise ValueError(f"a membership of {len(sets)} voter sets")
    members = {
        integer(number): Member(str(number), _read_address(node)) for number, node in nodes.items()
    }
    voters = [_read_set(ids, members) for ids in sets]
    voting = {member.id for group in voters for member in group}
    learners = tuple(m for _, m in sorted(members.items()) if m.id not in voting)
    return Configuration(
        voters=voters[-1] if voters else (),
        learners=learners,
        old_voters=voters[0] if len(voters) == 2 else (),
    )


def _read_set(ids: Any, members: dict[int, Member]) -> tuple[Member, ...]:
    if not isinstance(ids, list) or not ids:
        raise ValueError("a voter set is a list of at least one node id")
    numbers = sorted(integer(number) for number in ids)
    for number, following in pairwise(numbers):
        if number == following:
            raise ValueError(f"voter {number} is named twice")
    missing = [number for number in numbers if number not in members]
    if missing:
        raise ValueError(f"voter {missing[0]} is not among the nodes")
    return tuple(members[number] for number in numbers)


def _node_value(address: str) -> list[str]:
    """BasicNode(addr), or EmptyNode when there is no address."""
    if not address:
        return []
    return [address if "://" in address else _SCHEME + address]


def _read_address(value: Any) -> str:
    (address,) = struct(value, ("addr",), required=0)
    if address is None:
        return ""
    if not isinstance(address, str):
        raise ValueError(f"node address of type {type(address).__name__}")
    return address.removeprefix(_SCHEME)


# ---- in snapshots


def stored_membership_value(meta: SnapshotMeta) -> list[Any]:
    """[log id, membership] as of a snapshot.

    Only the index of that log id is known here. The snapshot's own term stands in for its term:
    log ids are ordered by term first, and this keeps it at or below every later one.
    """
    log_id = log_id_value(meta.term, meta.configuration_index)
    return [log_id, membership_value(meta.configuration)]


def read_stored_membership(value: Any) -> tuple[int, Configuration]:
    """(index, configuration); the index is NO_INDEX for a membership that no entry made."""
    log_id, membership = struct(value, ("log_id", "membership"))
    _, index = (0, NO_INDEX) if log_id is None else read_log_id(log_id)
    return index, read_membership(membership)
