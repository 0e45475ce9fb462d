"""The etcd services' view of a node: proposals, reads, and who is who."""

from __future__ import annotations

import hashlib

from ..protocols.etcd import ClusterMember
from .node import Node

__all__ = ["KvBackend", "etcd_id"]


def etcd_id(*parts: str) -> int:
    """A stable non-zero unsigned 64-bit id, as etcd makes them: from a hash of names."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") or 1


class KvBackend:
    """Implements `protocols.etcd.Backend` over a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.cluster_id = etcd_id(node.cluster)
        self._ids = {m.id: etcd_id(node.cluster, m.id) for m in node.members}
        self.member_id = self._ids[node.id]

    async def propose(self, command: bytes) -> bytes:
        return await self._node.propose(command)

    async def query(self, request: bytes, *, linearizable: bool) -> bytes:
        return await self._node.query(request, linearizable=linearizable)

    @property
    def term(self) -> int:
        # openraft packs (term, node) into one integer, the term above 64 bits of node id.
        term = self._node.term
        return term >> 64 if term >> 64 else term

    @property
    def leader_member_id(self) -> int:
        leader = self._node.leader
        return 0 if leader is None else self._ids[leader]

    @property
    def raft_index(self) -> int:
        return self._node.commit_index + 1

    @property
    def raft_applied_index(self) -> int:
        return self._node.applied_index + 1

    @property
    def db_size(self) -> int:
        return self._node.bytes_on_disk

    @property
    def is_learner(self) -> bool:
        return not self._node.is_voter

    def members(self) -> list[ClusterMember]:
        rows = []
        for member in self._node.members:
            urls = (f"http://{member.address}",)
            rows.append(ClusterMember(self._ids[member.id], member.id, urls, urls))
        return rows
