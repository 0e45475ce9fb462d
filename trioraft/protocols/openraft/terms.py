"""Leader ids as terms: openraft's (term, node id) in one integer, high and low 64 bits.

openraft (`leader_id_adv`) orders votes by term, then by node id, so that two candidates of one
term do not tie. Packed like this, its order is the order of integers, and a ballot belongs to
one node. Node ids are numbers there; in trioraft they are their decimal text.
"""

from __future__ import annotations

from trioraft.raft.types import NodeId

__all__ = ["MAX_U64", "leader_id", "next_term", "node_number", "pack_term", "unpack_term"]

MAX_U64 = 2**64 - 1
_SHIFT = 64


def node_number(node_id: NodeId) -> int:
    """The number that a node id is. Raises ValueError for anything but its shortest decimal."""
    if node_id.isascii() and node_id.isdecimal():
        number = int(node_id[:21])
        if number <= MAX_U64 and str(number) == node_id:
            return number
    raise ValueError(f"{node_id!r} is no node id of openraft: a number from 0 to 2^64-1")


def pack_term(term: int, node: int) -> int:
    """One integer for (term, node id), both of 64 bits."""
    return term << _SHIFT | node


def unpack_term(term: int) -> tuple[int, int]:
    """(term, node id)."""
    return term >> _SHIFT, term & MAX_U64


def leader_id(term: int) -> NodeId:
    """The node that a packed term belongs to."""
    return str(term & MAX_U64)


def next_term(term: int, node_id: NodeId) -> int:
    """The term of a new election: the next number, in the name of this node."""
    return pack_term((term >> _SHIFT) + 1, node_number(node_id))
