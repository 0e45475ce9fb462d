"""Nodes that were away: removed, restarted, moved, or back with an empty disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio
from member_cluster import cluster, free_address, until, write

from trioraft.raft.errors import (
    NoQuorumError,
)


async def test_a_removed_node_refuses_what_it_will_never_know(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as group, trio.open_nursery() as nursery:
        leader = await group.leader()
        gone = next(node for node in group.nodes.values() if node is not leader)
        await write(leader, b"x")
        assert await gone.query(b"") == b"x"
        failures: list[NoQuorumError] = []

        async def read_later() -> None:
            with pytest.raises(NoQuorumError, match="removed") as caught:
                await gone.query(b"", linearizable=False, min_index=1_000)
            failures.append(caught.value)

        nursery.start_soon(read_later)
        await trio.sleep(0.1)
        assert not failures
        await leader.remove_member(gone.id)
        await until(lambda: gone.removed)
        await write(leader, b"y")
        with trio.fail_after(1):
            with pytest.raises(NoQuorumError, match="removed"):
                await gone.query(b"")
            with pytest.raises(NoQuorumError, match="removed"):
                await gone.query(b"", linearizable=False, min_index=1_000)
            assert await gone.query(b"", linearizable=False) == b"x"
        await until(lambda: failures)


async def test_a_member_moves_to_another_address(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as group:
        leader = await group.leader()
        name = next(name for name in "abc" if name != leader.id)
        await write(leader, b"x")
        await group.stop(name)
        group.addresses[name] = free_address()
        now = await leader.update_member(name, group.addresses[name])
        moved = now.member(name)
        assert moved is not None
        assert moved.address == group.addresses[name]
        back = await group.join(name)  # its log says who the members were
        await until(lambda: back.commit_index == leader.commit_index)
        other = next(n for n in "abc" if n not in (leader.id, name))
        await group.stop(other)
        await write(back, b"y")
        assert b"y" in await leader.query(b"")


async def test_a_restarted_joiner_is_still_a_member(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b") as group:
        await group.join("c")
        await group.nodes["a"].add_member("c", group.address("c"))
        await group.stop("c")
        back = await group.join("c")
        await until(lambda: back.status().role == "follower")
        await group.stop("a")
        await write(back, b"x")


async def test_a_removed_node_that_still_runs_can_be_added_again(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as group:
        leader = await group.leader()
        name = next(name for name in "abc" if name != leader.id)
        await write(leader, b"x")
        await leader.demote(name)
        await leader.remove_member(name)
        await until(lambda: group.nodes[name].removed)
        # It has the whole log already: there is nothing to send that would show it.
        await leader.add_member(name, group.address(name))
        await until(lambda: not group.nodes[name].removed)
        assert await group.nodes[name].query(b"") == b"x"


@pytest.mark.parametrize("wire", ["ratis", "openraft"])
async def test_a_member_comes_back_at_once_with_an_empty_disk(tmp_path: Path, wire: str) -> None:
    """The leader is still telling it that it was removed, and believes that it has a log."""
    async with cluster(tmp_path, "1", "2", "3", wire=wire) as group:
        leader = await group.leader()
        for number in range(300):
            await write(leader, b"%d" % number)
        gone = next(name for name, node in group.nodes.items() if node is not leader)
        index = leader.status().commit_index
        await until(lambda: group.nodes[gone].status().last_index >= index)
        await group.stop(gone)
        await leader.remove_member(gone)
        shutil.rmtree(tmp_path / gone)
        back = await group.join(gone)
        await leader.add_member(gone, group.address(gone))
        await until(lambda: back.status().applied_index >= index)
