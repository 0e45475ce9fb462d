"""Changes of members that are refused, one at a time, or given up by who asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from member_cluster import FAST, Journal, cluster, free_address, until

import trioraft
from trioraft import Node
from trioraft.raft.errors import (
    ChangeInProgressError,
    ConfigurationError,
    ConfigurationMismatchError,
    StagingTimeoutError,
)
from trioraft.raft.types import Configuration, Member


async def test_changes_that_are_refused_say_why(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as group:
        leader = await group.leader()
        follower = next(node for node in group.nodes.values() if node is not leader)
        before = leader.configuration
        for node in (leader, follower):
            with pytest.raises(ConfigurationError, match="not a member"):
                await node.remove_member("nobody")
            with pytest.raises(ConfigurationError, match="not a member"):
                await node.promote("nobody")
            with pytest.raises(ConfigurationError):
                await node.remove_member("a", "b", "c")
            with pytest.raises(ConfigurationError, match="not an address"):
                await node.add_member("d", "nowhere")
            with pytest.raises(ConfigurationError, match="new voters"):
                await node.set_members(Member(x, free_address()) for x in "adefg")
            with pytest.raises(ConfigurationMismatchError):
                await node.set_members(before.voters, expected=Configuration(before.voters[:2]))
            # Nobody listens there, so it never catches up.
            with pytest.raises(StagingTimeoutError, match="d at 127"):
                await node.add_member("d", free_address())
        assert leader.configuration == before
        assert await leader.set_members(before.voters, expected=before) == before


async def test_a_stranger_is_told_apart_before_it_is_added(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a") as group:
        only = group.nodes["a"]
        await group.join("b")
        assert await only.identify(group.address("b")) == "b"
        with pytest.raises(ConfigurationError, match="--join first"):
            await only.identify(free_address())
        async with trioraft.open_node(
            id="c", join=True, listen=free_address(), machine=Journal(), cluster="other"
        ) as stranger:
            with pytest.raises(ConfigurationError, match="of cluster 'other'"):
                await only.identify(stranger.address)


async def test_one_change_at_a_time_and_a_caller_that_goes_away(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as group, trio.open_nursery() as nursery:
        leader = await group.leader()
        follower = next(node for node in group.nodes.values() if node is not leader)
        hopeless = free_address()
        scope = trio.CancelScope()
        nursery.start_soon(_add_within, scope, follower, hopeless)
        await until(lambda: any(m.part == "joining" for m in leader.status().members))
        with pytest.raises(ChangeInProgressError):
            await leader.remove_member(follower.id)
        scope.cancel()
        # Its call was cancelled, so the leader gives the change up long before the timeout.
        with trio.fail_after(FAST.staging_timeout / 2):
            await until(lambda: all(m.part == "voter" for m in leader.status().members))
        await group.join("e")
        await leader.add_member("e", group.address("e"))
        await group.agree("abce")


async def _add_within(scope: trio.CancelScope, node: Node, address: str) -> None:
    with scope:
        await node.add_member("d", address)
