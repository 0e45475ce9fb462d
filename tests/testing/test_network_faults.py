"""Faults of the simulated network on demand: partitions, killed hosts, resets at a byte."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest
import trio
from network_kit import connected, join, receive_exactly, simulated

from trioraft.testing.network import LinkSettings, SimNetwork, SimStream
from trioraft.testing.scheduler import SeededRun, run_seeded


@simulated
async def test_partition_stalls_and_heal_delivers(run: SeededRun) -> None:
    async with connected(run) as (network, near, far):
        await near.send_all(b"before ")
        network.partition("c", "s")
        await near.send_all(b"during")
        with trio.move_on_after(300) as scope:
            await far.receive_some()
        assert scope.cancelled_caught, "bytes passed a partition"
        network.heal("s", "c")
        assert await receive_exactly(far, 13) == b"before during"


@simulated
async def test_one_way_partition_lets_the_other_way_pass(run: SeededRun) -> None:
    async with connected(run) as (network, near, far):
        network.partition("c", "s", one_way=True)
        await far.send_all(b"hello")
        assert await near.receive_some() == b"hello"
        await near.send_all(b"unheard")
        with trio.move_on_after(5) as scope:
            await far.receive_some()
        assert scope.cancelled_caught


@simulated
async def test_blocked_acknowledgements_fill_the_senders_buffer(run: SeededRun) -> None:
    async with connected(run, LinkSettings(buffer_size=100)) as (network, near, far):
        network.partition("s", "c", one_way=True)
        await near.send_all(bytes(100))
        await receive_exactly(far, 100)
        with trio.move_on_after(5) as scope:
            await near.send_all(b"x")
        assert scope.cancelled_caught, "the sender heard of room through a blocked link"
        network.heal()
        with trio.fail_after(1):
            await near.send_all(b"x")


@simulated
async def test_lossy_partition_resets_on_heal(run: SeededRun) -> None:
    async with connected(run) as (network, near, far):
        network.partition("c", "s", lose=True)
        await near.send_all(b"lost")
        await trio.sleep(1)
        network.heal()
        with pytest.raises(trio.BrokenResourceError, match="lost its bytes"):
            await far.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await near.send_all(b"more")


@simulated
async def test_lossy_partition_without_traffic_leaves_connections_alone(run: SeededRun) -> None:
    async with connected(run) as (network, near, far):
        network.partition("c", "s", lose=True)
        await trio.sleep(1)
        network.heal()
        await near.send_all(b"fine")
        assert await far.receive_some() == b"fine"


@simulated
async def test_dials_into_a_partition(run: SeededRun) -> None:
    async with SimNetwork(run.rng("network"), connect_timeout=5.0) as network:
        listener = await network.listen("s:1")
        network.partition("c", ["s", "t"])
        start = trio.current_time()
        with pytest.raises(TimeoutError, match="timed out"):
            await network.dial("c", "s:1")
        assert trio.current_time() - start == pytest.approx(5.0)

        network.partition("c", "s", refuse=True)
        with pytest.raises(ConnectionRefusedError):
            await network.dial("c", "s:1")

        network.partition("c", "s")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(network.dial, "c", "s:1")
            await trio.sleep(1)
            network.heal()
            await listener.accept()


@simulated
async def test_killing_a_host(run: SeededRun) -> None:
    async with connected(run) as (network, near, far):
        await far.send_all(b"last words")
        network.kill_host("s")
        with pytest.raises(trio.BrokenResourceError, match="s was killed"):
            await far.send_all(b"from the grave")
        assert await near.receive_some() == b"last words"
        with pytest.raises(trio.BrokenResourceError, match="reset by peer"):
            await near.receive_some()
        with pytest.raises(ConnectionRefusedError):
            await network.dial("c", "s:1")
        reborn = await network.listen("s:1")
        await join(network, reborn)


@simulated
async def test_a_kill_behind_a_partition_is_seen_after_it_heals(run: SeededRun) -> None:
    async with connected(run) as (network, near, _):
        network.partition("c", "s")
        network.kill_host("s")
        with trio.move_on_after(100) as scope:
            await near.receive_some()
        assert scope.cancelled_caught
        network.heal()
        with pytest.raises(trio.BrokenResourceError, match="reset by peer"):
            await near.receive_some()


async def send_in_pieces(stream: SimStream, count: int) -> None:
    for _ in range(count // 100):
        await stream.send_all(bytes(100))


@pytest.mark.parametrize("offset", [0, 1, 999, 1000])
def test_reset_at_a_byte(offset: int) -> None:
    async def main(run: SeededRun) -> None:
        async with connected(run, LinkSettings(split=0.3)) as (network, near, far):
            assert network.reset("c", "s", after_bytes=offset) == 1
            with pytest.raises(trio.BrokenResourceError):
                await send_in_pieces(near, 3000)
            if offset:
                await receive_exactly(far, offset)
            with pytest.raises(trio.BrokenResourceError):
                await far.receive_some()

    run_seeded(main, 0)


async def send_through_trouble(run: SeededRun, *, resets: bool) -> tuple[bytes, bytes]:
    """One connection, faults at random times; what was sent, and what arrived in the end."""
    rng = run.rng("trouble")
    settings = LinkSettings(latency_max=0.1, split=0.5, buffer_size=rng.randrange(1, 3000))
    received = bytearray()

    async def send(stream: SimStream, data: bytes) -> None:
        at = 0
        while at < len(data):
            step = rng.randrange(1, 2000)
            await stream.send_all(data[at : at + step])
            at += step
        await stream.send_eof()

    async def receive(stream: SimStream) -> None:
        while data := await stream.receive_some(rng.randrange(1, 2000)):
            received.extend(data)
            await trio.sleep(rng.uniform(0.0, 0.05))

    async def ignore_reset(work: Awaitable[None]) -> None:
        try:
            await work
        except trio.BrokenResourceError as error:
            run.trace.record(str(error))

    async with connected(run, settings) as (network, near, far):
        sent = rng.randbytes(20_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ignore_reset, send(near, sent))
            nursery.start_soon(ignore_reset, receive(far))
            for _ in range(5):
                await trio.sleep(rng.uniform(0.0, 0.3))
                sides = rng.sample(["c", "s"], 2)
                lose = resets and rng.random() < 0.1
                network.partition(*sides, one_way=rng.random() < 0.5, lose=lose)
                await trio.sleep(rng.uniform(0.0, 0.3))
                network.heal()
                if resets and rng.random() < 0.1:
                    network.reset(*sides, after_bytes=rng.randrange(3000))
    return sent, bytes(received)


@pytest.mark.parametrize("seed", range(20))
def test_partitions_that_heal_cost_no_byte(seed: int) -> None:
    sent, received = run_seeded(lambda run: send_through_trouble(run, resets=False), seed)
    assert received == sent


def test_whatever_goes_wrong_what_arrives_is_a_prefix() -> None:
    cut_short = 0
    for seed in range(40):
        sent, received = run_seeded(lambda run: send_through_trouble(run, resets=True), seed)
        assert sent.startswith(received), f"seed {seed}: bytes out of order or out of nowhere"
        cut_short += len(received) < len(sent)
    assert 5 < cut_short < 40, "the faults should hit some runs and spare others"
