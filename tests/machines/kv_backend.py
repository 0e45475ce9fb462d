"""A backend for the etcd services that runs the machine directly, without Raft."""

from __future__ import annotations

from collections.abc import Sequence

from trioraft.machines.kv import KvMachine
from trioraft.node.machine import Command
from trioraft.protocols.etcd import ClusterMember


class DirectBackend:
    """One member, always the leader. `failure`, if set, is raised by every proposal and query."""

    cluster_id = 0xC0FFEE
    member_id = 0xFFFF_FFFF_FFFF_FFFF
    term = 3
    is_learner = False
    db_size = 4096

    def __init__(self) -> None:
        self.machine = KvMachine()
        self.leader_member_id = self.member_id
        self.applied = 0
        self.failure: Exception | None = None
        self.asked: list[tuple[bytes, bool]] = []

    @property
    def raft_index(self) -> int:
        return self.applied

    @property
    def raft_applied_index(self) -> int:
        return self.applied

    async def propose(self, command: bytes) -> bytes:
        if self.failure is not None:
            raise self.failure
        self.applied += 1
        (reply,) = await self.machine.apply([Command(self.applied, self.term, command)])
        return reply

    async def query(self, request: bytes, *, linearizable: bool) -> bytes:
        self.asked.append((request, linearizable))
        if self.failure is not None:
            raise self.failure
        return await self.machine.query(request)

    def members(self) -> Sequence[ClusterMember]:
        return (
            ClusterMember(self.member_id, "n1", ("http://127.0.0.1:1",), ("http://127.0.0.1:1",)),
            ClusterMember(7, "n2", ("http://127.0.0.1:2",), ("http://127.0.0.1:2",), True),
        )
