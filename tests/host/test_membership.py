"""Members come and go: complete nodes on real sockets in one process."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from member_cluster import FAST, cluster, until, write

from trioraft.node import RuntimeSettings
from trioraft.raft.errors import (
    NoQuorumError,
)


@pytest.mark.parametrize("wire", ["ratis", "openraft"])
async def test_from_three_to_five_and_back(tmp_path: Path, wire: str) -> None:
    async with cluster(tmp_path, "1", "2", "3", wire=wire) as group:
        await write(group.nodes["1"], b"a")
        for name in "45":
            joined = await group.join(name)
            assert joined.status().role == "joining"
            now = await group.nodes["1"].add_member(name, group.address(name))
            assert now.is_voter(name)
        await group.agree("12345")
        await write(group.nodes["5"], b"b")
        assert await group.nodes["4"].query(b"") == b"a b"
        await group.stop("1")
        await group.stop("2")
        await write(group.nodes["5"], b"c")
        await group.nodes["4"].remove_member("1", "2")
        await group.agree("345")
        assert b"c" in (await group.nodes["3"].query(b"")).split()


async def test_every_node_is_replaced_under_load(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as group:
        acknowledged: list[bytes] = []

        async def load() -> None:
            for number in range(1_000_000):
                word = b"%d" % number
                await write(list(group.nodes.values())[-1], word)
                acknowledged.append(word)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(load)
            for old, new in zip("abc", "def", strict=True):
                await group.join(new)
                others = (node for name, node in group.nodes.items() if name not in (old, new))
                survivor = next(others)
                await survivor.add_member(new, group.address(new))
                await survivor.remove_member(old)
                await until(lambda old=old: group.nodes[old].status().role == "removed")
                await group.stop(old)
                goal = len(acknowledged) + 5
                await until(lambda goal=goal: len(acknowledged) >= goal)
            nursery.cancel_scope.cancel()
        await group.agree("def")
        for node in group.nodes.values():
            assert {*acknowledged} <= {*(await node.query(b"")).split()}


async def test_a_leader_removes_itself_and_hands_over(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as group:
        leader = await group.leader()
        await write(leader, b"x")
        await leader.remove_member(leader.id)
        rest = "".join(sorted(set("abc") - {leader.id}))
        await group.agree(rest)
        heir = await group.leader()
        assert heir is not leader
        await until(lambda: leader.status().role == "removed")
        term = heir.term
        await group.nodes[rest[0]].propose(b"y")
        await trio.sleep(4 * FAST.election_timeout_max)  # the removed one disturbs nobody
        assert heir.term == term
        with trio.fail_after(1), pytest.raises(NoQuorumError, match="removed"):
            await leader.query(b"")


async def test_a_learner_follows_without_a_vote_and_is_promoted(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as group:
        await write(group.nodes["a"], b"x")
        await group.join("d")
        await group.nodes["b"].add_member("d", group.address("d"), learner=True)
        await group.agree("abc", "d")
        learner = group.nodes["d"]
        await until(lambda: learner.status().role == "learner")
        assert await learner.query(b"") == b"x"
        now = await learner.promote("d")
        assert now.is_voter("d")
        await group.agree("abcd")
        now = await learner.demote("a")
        await group.agree("bcd", "a")
        assert await group.nodes["a"].query(b"") == b"x"


async def test_one_two_one(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a") as group:
        only = group.nodes["a"]
        await write(only, b"x")
        await group.join("b")
        await only.add_member("b", group.address("b"))
        await group.agree("ab")
        await group.nodes["b"].remove_member("a")
        await group.agree("b")
        await write(group.nodes["b"], b"y")
        assert await group.nodes["b"].query(b"") == b"x y"
        assert only.removed


async def test_a_node_joins_by_snapshot(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c", settings=RuntimeSettings(keep_entries=0)) as group:
        for number in range(20):
            await write(group.nodes["a"], b"%d" % number)
        for node in group.nodes.values():
            await node.snapshot()
        joined = await group.join("d")
        await group.nodes["a"].add_member("d", group.address("d"))
        assert joined.status().snapshot_index > 0
        assert len((await joined.query(b"")).split()) == 20


async def test_channels_follow_the_members(tmp_path: Path) -> None:
    """No channel is left to somebody who has gone."""
    async with cluster(tmp_path, "a", "b") as group:
        await group.join("c")
        await group.nodes["a"].add_member("c", group.address("c"))
        await until(lambda: len(group.nodes["c"]._host._peers.channels) == 2)
        await group.nodes["a"].remove_member("c")
        for name in "ab":
            await until(lambda name=name: len(group.nodes[name]._host._peers.channels) == 1)
