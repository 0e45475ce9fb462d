"""A node whose disk fails: it stops that group at once, says why, and acknowledges no lie."""

from __future__ import annotations

import errno
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from disk_faults import FaultyEnvironment
from failing_replicas import CODES, FAST, Journal, addresses, leader_of, replica, stopped

import trioraft
from trioraft import Role
from trioraft.host import open_server
from trioraft.node import RuntimeSettings
from trioraft.raft.errors import (
    CorruptionError,
    GroupStoppedError,
    NoQuorumError,
    OverloadedError,
    ProposalDroppedError,
    StorageError,
    TrioraftError,
)
from trioraft.storage import FsyncPolicy, StorageSettings


@pytest.mark.parametrize("operation", ["write", "datasync"])
@pytest.mark.parametrize("what", sorted(CODES))
async def test_a_leader_whose_disk_fails_stops_and_the_others_go_on(
    tmp_path: Path, operation: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    peers = addresses(3)
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(replica(name, peers, tmp_path)) for name in peers
        ]
        leader = await leader_of(replicas)
        await leader.node.propose(b"before")
        leader.files.fail(operation, CODES[what], ".log")
        with trio.fail_after(10):
            try:
                await leader.node.propose(b"during", forward=False)
            except ProposalDroppedError as error:
                assert "may or may not take effect" in str(error)  # noqa: PT017
        failure = await stopped(leader)
        assert isinstance(failure, StorageError)
        assert what in str(failure)
        assert ".log" in str(failure)
        [record] = [record for record in caplog.records if record.name.endswith("node.group.group")]
        assert str(failure) in record.getMessage()
        assert record.exc_info is None  # a broken disk is no bug: there is nothing to trace
        assert leader.files.failed == [operation]  # not tried again
        leader.files.heal()
        with pytest.raises(GroupStoppedError, match=what):
            await leader.node.propose(b"after", forward=False)
        status = leader.node.status()
        assert (status.role, status.failure) == ("stopped", str(failure))
        others = [found for found in replicas if found is not leader]
        second = await leader_of(others)
        await second.node.propose(b"after")
        assert second.machine.seen in ([b"before", b"after"], [b"before", b"during", b"after"])
        assert leader.files.failed == [operation]


async def test_a_follower_whose_disk_is_full_stops_alone_and_comes_back(tmp_path: Path) -> None:
    peers = addresses(3)
    async with AsyncExitStack() as stack:
        others = [
            await stack.enter_async_context(replica(name, peers, tmp_path)) for name in ("2", "3")
        ]
        leader = await leader_of(others)
        async with replica("1", peers, tmp_path) as first:
            with trio.fail_after(10):
                await first.node.wait_leader()
            first.files.fail("write", errno.ENOSPC, ".log")
            await leader.node.propose(b"a")
            assert "full" in str(await stopped(first))
            await leader.node.propose(b"b")
        async with replica("1", peers, tmp_path) as again:
            with trio.fail_after(10):
                while again.machine.seen != [b"a", b"b"]:
                    await trio.sleep(0.02)


@pytest.mark.parametrize("rotten", [True, False])
async def test_a_log_that_cannot_be_read_back_stops_that_group(
    tmp_path: Path, rotten: bool
) -> None:
    """Found when entries are read back for a follower that is far behind."""
    peers = addresses(3)
    config = trioraft.RaftConfig(
        election_timeout_min=0.5,
        election_timeout_max=1.0,
        heartbeat_interval=0.1,
        max_cached_bytes=1 << 16,
        max_append_bytes=1 << 14,  # what may wait in memory for a peer that is away
    )
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(replica(name, peers, tmp_path, config=config))
            for name in ("1", "2")
        ]
        leader = await leader_of(replicas)
        for number in range(100):
            await leader.node.propose(b"%d" % number * 2000)
        log = next((tmp_path / leader.node.id / "groups").rglob("*.log"))
        if rotten:
            with log.open("r+b") as file:
                file.seek(200_000)
                file.write(b"rot")
        else:
            leader.files.fail("read", errno.EIO, ".log")
        behind = await stack.enter_async_context(replica("3", peers, tmp_path, config=config))
        failure = await stopped(leader)
        assert isinstance(failure, CorruptionError if rotten else StorageError)
        assert str(log if rotten else log.parent) in str(failure)
        if isinstance(failure, CorruptionError):
            assert 195_000 < failure.offset <= 200_000
        other = next(found for found in replicas if found is not leader)
        second = await leader_of([other, behind])
        with trio.fail_after(10):
            await second.node.propose(b"after")
            while len(behind.machine.seen) != 101:
                await trio.sleep(0.02)
        assert behind.machine.seen == other.machine.seen


async def test_one_group_of_a_server_fails_and_the_other_goes_on(tmp_path: Path) -> None:
    peers = addresses(1)
    environment = FaultyEnvironment()
    async with open_server(
        id="1", listen=peers["1"], data=tmp_path / "d", environment=environment
    ) as server:
        machines = {"a": Journal(), "b": Journal()}
        for name, machine in machines.items():
            await server.open_group(name, machine, peers=peers, config=FAST)
            with trio.fail_after(10):
                await server.groups[name].wait_role(Role.LEADER)
            await server.groups[name].propose(b"x")
        first = server.groups["a"]
        folder = first.status().group_id.hex()
        environment.files.fail("datasync", errno.EIO, folder)
        with pytest.raises(ProposalDroppedError):
            await first.propose(b"y")
        with trio.fail_after(10), pytest.raises(GroupStoppedError, match="fault"):
            await first.wait_stopped()
        await server.groups["b"].propose(b"y")
        assert machines["b"].seen == [b"x", b"y"]
        assert server.groups["b"].failure is None


async def test_a_late_sync_that_fails_stops_an_idle_group(tmp_path: Path) -> None:
    """With fsync every 100 ms the write is acknowledged before the disk has refused it."""
    policy = RuntimeSettings(storage=StorageSettings(fsync=FsyncPolicy.parse("interval:100")))
    peers = addresses(1)
    async with replica("1", peers, tmp_path, settings=policy) as only:
        await leader_of([only])
        only.files.fail("datasync", errno.EIO, ".log")
        await only.node.propose(b"acknowledged")
        assert "fault" in str(await stopped(only))
        assert only.files.failed == ["datasync"]


async def test_proposals_are_refused_before_a_slow_disk_overflows(tmp_path: Path) -> None:
    peers = addresses(1)
    settings = RuntimeSettings(max_unwritten_bytes=100_000)
    async with replica("1", peers, tmp_path, settings=settings) as only:
        await leader_of([only])
        await only.node.propose(b"x")
        refused = accepted = 0

        async def write() -> None:
            nonlocal refused, accepted
            try:
                await only.node.propose(bytes(20_000))
                accepted += 1
            except OverloadedError as error:
                assert "slow disk" in str(error)  # noqa: PT017
                refused += 1

        only.files.free.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(write)
                await trio.sleep(0.002)
            only.files.free.set()
        assert refused > 0
        assert accepted > 4
        await only.node.propose(b"x")
        assert only.node.failure is None


async def test_nobody_leads_without_a_majority_of_working_disks(tmp_path: Path) -> None:
    peers = addresses(3)
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(replica(name, peers, tmp_path)) for name in peers
        ]
        leader = await leader_of(replicas)
        await leader.node.propose(b"a")
        for found in replicas[:2]:
            found.files.fail("datasync", errno.EIO, ".log")
        with trio.fail_after(20), pytest.raises(TrioraftError) as caught:
            await replicas[2].node.propose(b"b")
        assert isinstance(caught.value, NoQuorumError | ProposalDroppedError | GroupStoppedError)
        assert replicas[2].node.failure is None
