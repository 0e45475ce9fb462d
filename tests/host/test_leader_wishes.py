"""What operators wish about who leads: not this one, rather that one."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from member_cluster import FAST, cluster, until, write

from trioraft import Role
from trioraft.raft.errors import (
    ConfigurationError,
)


async def test_paused_nodes_do_not_stand_for_election(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as group:
        leader = await group.leader()
        paused, free = (node for node in group.nodes.values() if node is not leader)
        # Who lacks an entry could not win later, and nobody would be left to send it.
        await until(lambda: free.status().last_index == leader.status().last_index)
        await paused.pause_elections()
        await leader.step_down()
        await leader.pause_elections()
        await until(lambda: free.role is Role.LEADER)
        await write(free, b"x")
        await until(lambda: paused.status().last_index == free.status().last_index)
        await free.pause_elections()
        await free.step_down()
        await trio.sleep(4 * FAST.election_timeout_max)
        assert all(node.role is not Role.LEADER for node in group.nodes.values())
        await paused.resume_elections()
        await paused.wait_role(Role.LEADER)


async def test_any_node_hands_leadership_over(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as group:
        leader = await group.leader()
        await write(leader, b"x")
        target = next(node for node in group.nodes.values() if node is not leader)
        other = next(n for n in group.nodes.values() if n not in (leader, target))
        assert await other.transfer_leadership(target.id, forward=True) == target.id
        await target.wait_role(Role.LEADER)
        with pytest.raises(ConfigurationError, match="nobody"):
            await other.transfer_leadership("nobody", forward=True)
