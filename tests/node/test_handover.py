"""Handing leadership over, as callers of a group see it."""

from __future__ import annotations

import pytest
import trio
from loopback import LoopCluster, loop_cluster

from trioraft.node import Group
from trioraft.raft.errors import NoQuorumError
from trioraft.raft.types import Role


def others(cluster: LoopCluster, leader: Group) -> list[str]:
    return [name for name in cluster.groups if name != leader.node_id]


async def test_a_target_that_refuses_is_believed(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        await leader.propose(b"a")
        heir = others(cluster, leader)[0]
        await cluster.groups[heir].admin.pause_elections()
        began = trio.current_time()
        with pytest.raises(NoQuorumError, match=f"{heir} refuses to take over"):
            await leader.transfer_leadership(heir)
        await leader.propose(b"b")
        assert trio.current_time() - began < 0.2, "the deadline is a second away"
        assert leader.role is Role.LEADER
