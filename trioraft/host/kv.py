"""The etcd services' view of a node: proposals, reads, and who is who."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from trioraft.node import WriteResult
from trioraft.protocols.etcd import Answer, ClusterMember
from trioraft.raft.types import Member

from .node import Node

__all__ = ["KvBackend", "etcd_id"]


def etcd_id(*parts: str) -> int:
    """A stable non-zero unsigned 64-bit id, as etcd makes them: from a hash of names."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") or 1


class KvBackend:
    """Implements `protocols.etcd.Backend` over a node.

    Asked several times in every call, so what follows from the configuration is kept until the
    configuration is another one.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.cluster_id = etcd_id(node.cluster)
        self.member_id = etcd_id(node.cluster, node.id)
        self._refresh()

    def _refresh(self) -> None:
        configuration = self._configuration = self._node.configuration
        self._is_learner = not configuration.is_voter(self._node.id)
        self._ids = {m.id: etcd_id(self._node.cluster, m.id) for m in configuration.members()}

    async def propose(self, command: bytes) -> bytes:
        return await self._node.propose(command)

    async def query(self, request: bytes, *, linearizable: bool) -> bytes:
        return await self._node.query(request, linearizable=linearizable)

    def propose_for(self, answer: Answer, command: bytes) -> bool:
        return self._node.write_for(_Reply(answer), command)

    def query_for(self, answer: Answer, request: bytes) -> bool:
        return self._node.query_for(answer, request)

    def flush_later(self, flush: Callable[[], None]) -> None:
        self._node.flush_later(flush)

    @property
    def term(self) -> int:
        # openraft packs (term, node) into one integer, the term above 64 bits of node id.
        term = self._node.term
        return term >> 64 or term

    @property
    def leader_member_id(self) -> int:
        self._check_configuration()
        leader = self._node.leader
        return 0 if leader is None else self._ids.get(leader, 0)

    @property
    def is_learner(self) -> bool:
        self._check_configuration()
        return self._is_learner

    def _check_configuration(self) -> None:
        if self._node.configuration is not self._configuration:
            self._refresh()

    @property
    def raft_index(self) -> int:
        return self._node.commit_index + 1

    @property
    def raft_applied_index(self) -> int:
        return self._node.applied_index + 1

    @property
    def db_size(self) -> int:
        return self._node.bytes_on_disk

    def members(self) -> list[ClusterMember]:
        self._check_configuration()
        is_voter = self._configuration.is_voter
        return [self._row(m, learner=not is_voter(m.id)) for m in self._configuration.members()]

    def _row(self, member: Member, *, learner: bool) -> ClusterMember:
        """Ids are made from names, so a member keeps its id wherever it moves."""
        urls = (f"http://{member.address}",)
        return ClusterMember(etcd_id(self._node.cluster, member.id), member.id, urls, urls, learner)

    async def add_member(self, address: str, *, learner: bool) -> ClusterMember:
        """The new node is asked for its name: etcd's request has none."""
        joiner = await self._node.identify(address)
        await self._node.add_member(joiner, address, learner=learner)
        return self._row(Member(joiner, address), learner=learner)

    async def remove_member(self, name: str) -> None:
        await self._node.remove_member(name)

    async def move_member(self, name: str, address: str) -> None:
        await self._node.update_member(name, address)

    async def promote_member(self, name: str) -> None:
        await self._node.promote(name)

    async def move_leader(self, name: str) -> None:
        await self._node.transfer_leadership(name)


class _Reply:
    """An answer to a write that cares for the machine's reply alone."""

    __slots__ = ("_answer", "fail")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.fail = answer.fail

    def resolve(self, result: WriteResult) -> None:
        self._answer.resolve(result.reply)
