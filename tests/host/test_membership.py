"""Members come and go: complete nodes on real sockets in one process."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import trioraft
from trioraft import Command, Node, Role, SnapshotSink, SnapshotSource, StateMachine
from trioraft.cli.demo.ports import free_addresses
from trioraft.node import RuntimeSettings
from trioraft.raft.errors import (
    ChangeInProgressError,
    ConfigurationError,
    ConfigurationMismatchError,
    NoQuorumError,
    ProposalDroppedError,
    StagingTimeoutError,
)
from trioraft.raft.types import Configuration, Member

FAST = trioraft.RaftConfig(
    election_timeout_min=0.6,
    election_timeout_max=1.2,
    heartbeat_interval=0.05,
    staging_timeout=1.0,
)


class Journal(StateMachine):
    """Remembers what was written, and answers everything with all of it."""

    def __init__(self) -> None:
        self.words: list[bytes] = []

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        self.words += [command.data for command in commands]
        return [b"ok"] * len(commands)

    async def query(self, request: bytes) -> bytes:
        return b" ".join(self.words)

    async def snapshot(self, sink: SnapshotSink) -> None:
        await sink.write(b" ".join(self.words))

    async def restore(self, source: SnapshotSource) -> None:
        state = b""
        while part := await source.read():
            state += part
        self.words = state.split()


def free_address() -> str:
    return free_addresses(1)[0]


class Cluster:
    """Nodes by name, each in a scope of its own: `stop` ends one."""

    def __init__(
        self, nursery: trio.Nursery, directory: Path, wire: str, settings: RuntimeSettings
    ) -> None:
        self._nursery = nursery
        self._directory = directory
        self._wire = wire
        self._scopes: dict[str, trio.CancelScope] = {}
        self._stopped: dict[str, trio.Event] = {}
        self.addresses: dict[str, str] = {}
        self.nodes: dict[str, Node] = {}
        self.settings = settings

    def address(self, name: str) -> str:
        return self.addresses.setdefault(name, free_address())

    async def found(self, *names: str) -> None:
        peers = {name: self.address(name) for name in names}
        for name in names:
            await self._nursery.start(self._live, name, peers)

    async def join(self, name: str) -> Node:
        """Start a node that waits to be added."""
        self.address(name)
        node: Node = await self._nursery.start(self._live, name, None)
        return node

    async def _live(
        self,
        name: str,
        peers: dict[str, str] | None,
        *,
        task_status: trio.TaskStatus[Node],
    ) -> None:
        stopped = self._stopped[name] = trio.Event()
        with trio.CancelScope() as scope:
            self._scopes[name] = scope
            async with trioraft.open_node(
                id=name,
                peers=peers,
                join=peers is None,
                listen=self.addresses[name],
                machine=Journal(),
                data=self._directory / name,
                wire=self._wire,
                config=FAST,
                settings=self.settings,
            ) as node:
                self.nodes[name] = node
                task_status.started(node)
                await node.wait_stopped()
        stopped.set()

    async def stop(self, name: str) -> None:
        del self.nodes[name]
        self._scopes[name].cancel()
        await self._stopped[name].wait()

    async def leader(self) -> Node:
        while True:
            for node in self.nodes.values():
                if node.role is Role.LEADER and not node.removed:
                    return node
            await trio.sleep(0.01)

    async def agree(self, voters: str, learners: str = "") -> None:
        """Wait until every member that runs knows these members, and nobody else is one."""
        for name in voters + learners:
            if name in self.nodes:
                await until(lambda name=name: self._members(name) == (voters, learners))

    def _members(self, name: str) -> tuple[str, str]:
        now = self.nodes[name].configuration
        if now.is_joint:
            return "joint", ""
        return (
            "".join(sorted(m.id for m in now.voters)),
            "".join(sorted(m.id for m in now.learners)),
        )


async def until(condition: object) -> None:
    assert callable(condition)
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.01)


@asynccontextmanager
async def cluster(
    tmp_path: Path, *names: str, wire: str = "ratis", settings: RuntimeSettings | None = None
) -> AsyncIterator[Cluster]:
    async with trio.open_nursery() as nursery:
        made = Cluster(nursery, tmp_path, wire, settings or RuntimeSettings())
        await made.found(*names)
        with trio.fail_after(60):
            await made.leader()
            yield made
        nursery.cancel_scope.cancel()


async def write(node: Node, word: bytes) -> None:
    """Until it is acknowledged; it may be there twice then."""
    while True:
        try:
            await node.propose(word)
        except (ProposalDroppedError, NoQuorumError):
            await trio.sleep(0.01)
        else:
            return


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


async def test_channels_follow_the_members(tmp_path: Path) -> None:
    """No channel is left to somebody who has gone."""
    async with cluster(tmp_path, "a", "b") as group:
        await group.join("c")
        await group.nodes["a"].add_member("c", group.address("c"))
        await until(lambda: len(group.nodes["c"]._host._peers.channels) == 2)
        await group.nodes["a"].remove_member("c")
        for name in "ab":
            await until(lambda name=name: len(group.nodes[name]._host._peers.channels) == 1)


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
