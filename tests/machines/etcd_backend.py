"""A backend for the etcd services that runs the machine directly, without Raft."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from trioraft.machines.kv import KvMachine
from trioraft.node.machine import Command
from trioraft.protocols.etcd import Answer, ClusterMember


class DirectBackend:
    """One member, always the leader. It remembers what it was asked.

    `failure`, if set, is raised by every proposal and query; `stuck` makes them wait forever.
    """

    cluster_id = 0xC0FFEE
    member_id = 0xFFFF_FFFF_FFFF_FFFF
    term = 3
    db_size = 4096

    def __init__(self) -> None:
        self.machine = KvMachine()
        self.leader_member_id = self.member_id
        self.is_learner = False
        self.failure: Exception | None = None
        self.stuck = False
        self.proposed: list[bytes] = []
        self.asked: list[tuple[bytes, bool]] = []
        self.changes: list[str] = []

    @property
    def raft_index(self) -> int:
        return len(self.proposed)

    @property
    def raft_applied_index(self) -> int:
        return len(self.proposed)

    async def propose(self, command: bytes) -> bytes:
        await self._trouble()
        self.proposed.append(command)
        (reply,) = await self.machine.apply([Command(len(self.proposed), self.term, command)])
        return reply

    async def query(self, request: bytes, *, linearizable: bool) -> bytes:
        await self._trouble()
        self.asked.append((request, linearizable))
        return await self.machine.query(request)

    def propose_for(self, answer: Answer, command: bytes) -> bool:
        return False

    def query_for(self, answer: Answer, request: bytes) -> bool:
        return False

    def flush_later(self, flush: Callable[[], None]) -> None:
        raise AssertionError("no call goes without a task here")

    def members(self) -> Sequence[ClusterMember]:
        return (
            ClusterMember(self.member_id, "n1", ("http://127.0.0.1:1",), ("http://127.0.0.1:1",)),
            ClusterMember(7, "n2", ("http://127.0.0.1:2",), ("http://127.0.0.1:2",), True),
        )

    async def add_member(self, address: str, *, learner: bool) -> ClusterMember:
        await self._trouble()
        self.changes.append(f"add {address} {learner}")
        return ClusterMember(9, "n3", (f"http://{address}",), (f"http://{address}",), learner)

    async def remove_member(self, name: str) -> None:
        await self._trouble()
        self.changes.append(f"remove {name}")

    async def move_member(self, name: str, address: str) -> None:
        await self._trouble()
        self.changes.append(f"move {name} {address}")

    async def promote_member(self, name: str) -> None:
        await self._trouble()
        self.changes.append(f"promote {name}")

    async def move_leader(self, name: str) -> None:
        await self._trouble()
        self.changes.append(f"lead {name}")

    async def _trouble(self) -> None:
        if self.stuck:
            await trio.sleep_forever()
        if self.failure is not None:
            raise self.failure
