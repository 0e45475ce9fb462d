"""Exactly-once through whole groups: retries at the same leader, after failovers, in one batch."""

from __future__ import annotations

import pytest
import trio
from loopback import LoopCluster, loop_cluster

from trioraft.node import RuntimeSettings, SessionLimits, WriteResult
from trioraft.raft.errors import (
    ConfigurationError,
    NotLeaderError,
    ProposalDroppedError,
    SessionExpiredError,
)
from trioraft.raft.session_ids import call_id_of, client_id_of
from trioraft.raft.types import Proposal, Session


def call(number: int, *, nonce: int = 1, birth: int = 0, lowest_open: int = 1) -> Session:
    return Session(client_id_of(birth, nonce), call_id_of(number, lowest_open))


async def applied_everywhere(cluster: LoopCluster, seen: list[bytes]) -> None:
    await cluster.until(lambda: all(m.seen == seen for m in cluster.machines.values()))


async def test_a_retry_gets_the_first_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        first = await leader.write(b"a", call(1))
        await leader.propose(b"b")
        assert await leader.write(b"a", call(1)) == first
        assert (await leader.write(b"c", call(2))).reply == b"3"
        last = leader.core.last_index
        assert await leader.write(b"a", call(1)) == first
        assert leader.core.last_index == last, "a call that was applied is not proposed again"
        await applied_everywhere(cluster, [b"a", b"b", b"c"])


async def test_a_retry_after_a_failover_gets_the_first_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        first = await cluster.leader()
        before = await first.write(b"a", call(1))
        cluster.kill(first.node_id)
        second = await cluster.leader()
        assert await second.write(b"a", call(1)) == before
        assert await second.propose(b"b") == b"2"


async def test_a_retry_at_a_restarted_node_gets_the_first_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with loop_cluster() as cluster:
        before = await (await cluster.leader()).write(b"a", call(1))
        for name in list(cluster.storages):
            cluster.kill(name)
        cluster.start()
        assert await (await cluster.leader()).write(b"a", call(1)) == before


async def test_sessions_survive_snapshots(autojump_clock: trio.testing.MockClock) -> None:
    """Once from the node's own snapshot, once from one that a leader sent."""
    settings = RuntimeSettings(snapshot_after_entries=20, keep_entries=5)
    async with loop_cluster(settings=settings) as cluster:
        leader = await cluster.leader()
        behind = next(name for name in cluster.groups if name != leader.node_id)
        cluster.kill(behind)
        before = await leader.write(b"a", call(1))
        for number in range(100):
            await leader.propose(b"%d" % number)
        for name in list(cluster.groups):
            cluster.kill(name)
        cluster.start()
        await cluster.until(lambda: len(cluster.machines[behind].seen) == 101)
        assert cluster.machines[behind].restored == 1
        second = await cluster.leader()
        assert await second.write(b"a", call(1)) == before
        if second.node_id != behind:
            await second.transfer_leadership(behind)
            second = await cluster.leader()
        assert second.node_id == behind
        assert await second.write(b"a", call(1)) == before
        assert await second.propose(b"b") == b"102"


async def test_calls_under_way_are_joined(autojump_clock: trio.testing.MockClock) -> None:
    """Repeats in one batch, and of a call that is in the log and not committed yet."""
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        results: list[WriteResult] = []

        async def write() -> None:
            results.append(await leader.write(b"a", call(1)))

        for name in cluster.storages:
            if name != leader.node_id:
                cluster.cut.append((leader.node_id, name))
        last = leader.core.last_index
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(write)
            await trio.sleep(0.001)
            nursery.start_soon(write)
            await trio.sleep(0.001)
            assert not results
            assert leader.core.last_index == last + 1
            cluster.heal()
        assert results == [WriteResult(b"1", last + 1)] * 4
        await applied_everywhere(cluster, [b"a"])


async def test_joined_calls_hear_of_lost_leadership(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        cluster.isolate(leader.node_id)
        dropped: list[ProposalDroppedError] = []

        async def write() -> None:
            try:
                await leader.write(b"a", call(1))
            except ProposalDroppedError as error:
                dropped.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            nursery.start_soon(write)
        assert len(dropped) == 2
        cluster.heal()
        assert (await (await cluster.leader()).write(b"a", call(1))).reply == b"1"


async def test_a_leader_holds_calls_of_sessions_until_it_can_tell_repeats(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It has not applied its predecessor's entries, and goes on with other writes meanwhile."""
    async with loop_cluster() as cluster:
        first = await cluster.leader()
        heir = next(name for name in cluster.groups if name != first.node_id)
        hold = cluster.machines[heir].hold = trio.Event()
        result = await first.write(b"a", call(1))
        await first.transfer_leadership(heir)
        second = await cluster.leader()
        assert second.node_id == heir
        results: list[WriteResult] = []

        async def write(number: int) -> None:
            results.append(await second.write(b"a", call(number)))

        async with trio.open_nursery() as nursery:
            last = second.core.last_index
            for number in (1, 2, 2):
                nursery.start_soon(write, number)
            nursery.start_soon(second.propose, b"b")
            await cluster.until(lambda: second.commit_index > last)
            assert second.core.last_index == last + 1
            assert not results
            hold.set()
        again = WriteResult(b"3", last + 2)
        assert sorted(results, key=lambda r: r.index) == [result, again, again]
        await applied_everywhere(cluster, [b"a", b"b", b"a"])


async def test_held_calls_hear_of_lost_leadership(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        first = await cluster.leader()
        heir = next(name for name in cluster.groups if name != first.node_id)
        cluster.machines[heir].hold = trio.Event()
        await first.propose(b"a")
        await first.transfer_leadership(heir)
        second = await cluster.leader()

        async def write() -> None:
            with pytest.raises(NotLeaderError):
                await second.write(b"b", call(1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.sleep(0.01)
            cluster.isolate(heir)


async def test_a_duplicate_in_the_log_is_skipped_everywhere(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """No leader of ours lets one in; every replica looks nevertheless."""
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        entries = [Proposal(data, call(number)) for data, number in ((b"a", 1), (b"b", 2))]
        indices = leader.core.propose([*entries, entries[0], entries[1]], trio.current_time())
        assert await leader.propose(b"c") == b"3"
        await applied_everywhere(cluster, [b"a", b"b", b"c"])
        assert await leader.write(b"a", call(1)) == WriteResult(b"1", indices[0])
        assert await leader.write(b"b", call(2)) == WriteResult(b"2", indices[1])


async def test_a_forgotten_session_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    settings = RuntimeSettings(sessions=SessionLimits(max_clients=2))
    async with loop_cluster(settings=settings) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"a", call(1, nonce=1))
        await leader.propose(b"b", call(1, nonce=2))
        await leader.propose(b"c", call(1, nonce=3, birth=leader.applied_index))
        last = leader.core.last_index
        with pytest.raises(SessionExpiredError, match="may have been applied"):
            await leader.propose(b"a", call(1, nonce=1))
        assert leader.core.last_index == last, "refused before it enters the log"
        with pytest.raises(SessionExpiredError):
            await leader.propose(b"d", call(1, nonce=9, birth=10**9))
        await applied_everywhere(cluster, [b"a", b"b", b"c"])


async def test_foreign_clients_are_remembered_as_a_retry_cache_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    settings = RuntimeSettings(sessions=SessionLimits(max_foreign_calls=2))
    async with loop_cluster(settings=settings) as cluster:
        leader = await cluster.leader()
        client = b"random-client-id"
        for number in (1, 2, 3):
            await leader.propose(b"%d" % number, Session(client, number))
        assert await leader.propose(b"3", Session(client, 3)) == b"3"
        assert await leader.propose(b"1", Session(client, 1)) == b"4", "forgotten, so applied anew"


async def test_long_client_ids_are_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        with pytest.raises(ConfigurationError, match="client id of 65 bytes"):
            await leader.propose(b"a", Session(b"x" * 65, 1))
        assert await leader.propose(b"a", Session(b"x" * 64, 1)) == b"1"
