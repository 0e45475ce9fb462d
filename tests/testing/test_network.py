"""The simulated network: TCP's manners, faults on demand, and the same bytes from the same seed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import check_half_closeable_stream

from trioraft.testing.network import LinkSettings, SimListener, SimNetwork, SimStream
from trioraft.testing.scheduler import SeededRun, run_seeded

INSTANT = LinkSettings(latency_min=0.0, latency_max=0.0)
STEADY = LinkSettings(latency_min=0.010, latency_max=0.010)


@asynccontextmanager
async def connected(
    run: SeededRun, settings: LinkSettings = STEADY
) -> AsyncIterator[tuple[SimNetwork, SimStream, SimStream]]:
    """A network with one connection from a client host "c" to a server "s:1"."""
    async with SimNetwork(run.rng("network"), settings, trace=run.trace) as network:
        listener = await network.listen("s:1")
        near, far = await join(network, listener)
        yield network, near, far


async def join(network: SimNetwork, listener: SimListener) -> tuple[SimStream, SimStream]:
    near = await network.dial("c", listener.address)
    return near, await listener.accept()


async def receive_exactly(stream: SimStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = await stream.receive_some(count - len(data))
        assert chunk, f"the stream ended after {len(data)} of {count} bytes"
        data += chunk
    return data


def simulated(
    test: Callable[[SeededRun], Awaitable[None]],
) -> Callable[[], None]:
    def runner() -> None:
        run_seeded(test, seed=1)

    runner.__name__ = test.__name__
    runner.__doc__ = test.__doc__
    return runner


@pytest.mark.parametrize("settings", [INSTANT, STEADY, LinkSettings(split=0.5)])
def test_streams_pass_trios_own_checks(settings: LinkSettings) -> None:
    async def main(run: SeededRun) -> None:
        async with SimNetwork(run.rng("network"), settings) as network:
            listener = await network.listen("s:1")

            async def make() -> tuple[SimStream, SimStream]:
                return await join(network, listener)

            async def make_clogged() -> tuple[SimStream, SimStream]:
                ends = await make()
                for end in ends:
                    await end.send_all(bytes(settings.buffer_size))
                return ends

            await check_half_closeable_stream(make, make_clogged)

    run_seeded(main, 0)


@simulated
async def test_latency_is_charged_once_per_leg(run: SeededRun) -> None:
    async with SimNetwork(run.rng("network"), STEADY) as network:
        listener = await network.listen("s:0")
        near, far = await join(network, listener)
        assert trio.current_time() == pytest.approx(0.020)
        await near.send_all(b"ping")
        assert await far.receive_some() == b"ping"
        assert trio.current_time() == pytest.approx(0.030)
        assert far.peer_address == near.local_address
        assert near.peer_address == listener.address == far.local_address


@simulated
async def test_slow_link_takes_size_over_bandwidth(run: SeededRun) -> None:
    slow = LinkSettings(latency_min=0.0, latency_max=0.0, bandwidth=1000.0)
    async with connected(run, slow) as (_, near, far):
        start = trio.current_time()
        await near.send_all(bytes(500))
        await near.send_all(bytes(1500))
        await receive_exactly(far, 2000)
        assert trio.current_time() - start == pytest.approx(2.0)


@simulated
async def test_bytes_keep_their_order_whatever_the_jitter(run: SeededRun) -> None:
    wild = LinkSettings(latency_min=0.0, latency_max=1.0, split=0.9)
    async with connected(run, wild) as (_, near, far):
        sent = bytes(range(256)) * 20
        for at in range(0, len(sent), 10):
            await near.send_all(sent[at : at + 10])
        assert await receive_exactly(far, len(sent)) == sent


@simulated
async def test_send_all_waits_for_the_reader(run: SeededRun) -> None:
    small = LinkSettings(buffer_size=1000)
    async with connected(run, small) as (_, near, far):
        with trio.move_on_after(60) as scope:
            await near.send_all(bytes(1001))
        assert scope.cancelled_caught
        await receive_exactly(far, 1000)
        with trio.fail_after(1):
            await near.send_all(bytes(1000))


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
async def test_nobody_listens(run: SeededRun) -> None:
    async with SimNetwork(run.rng("network")) as network:
        with pytest.raises(ConnectionRefusedError, match="s:1 refused"):
            await network.dial("c", "s:1")
        listener = await network.listen("s:1")
        with pytest.raises(OSError, match="already in use"):
            await network.listen("s:1")
        await listener.aclose()
        with pytest.raises(ConnectionRefusedError):
            await network.dial("c", "s:1")
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()
        await network.listen("s:1")


@pytest.mark.parametrize("address", ["s", ":1", "s:", "s:http", "s:65536", "s:-1"])
def test_malformed_addresses(address: str) -> None:
    async def main(run: SeededRun) -> None:
        async with SimNetwork(run.rng("network")) as network:
            with pytest.raises(ValueError, match="host:port"):
                await network.listen(address)
            with pytest.raises(ValueError, match="host:port"):
                await network.dial("c", address)

    run_seeded(main, 0)


@simulated
async def test_full_backlog_makes_dials_wait(run: SeededRun) -> None:
    async with SimNetwork(run.rng("network"), backlog=1, connect_timeout=5.0) as network:
        listener = await network.listen("s:1")
        await network.dial("c", "s:1")
        with pytest.raises(TimeoutError):
            await network.dial("c", "s:1")
        await listener.accept()
        await network.dial("c", "s:1")


@simulated
async def test_a_dial_that_is_given_up_resets_the_accepted_side(run: SeededRun) -> None:
    async with SimNetwork(run.rng("network"), STEADY) as network:
        listener = await network.listen("s:1")
        with trio.move_on_after(0.015):
            await network.dial("c", "s:1")
        far = await listener.accept()
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()


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


@simulated
async def test_closing_with_unread_bytes_resets(run: SeededRun) -> None:
    async with connected(run) as (_, near, far):
        await near.send_all(b"unread")
        await trio.sleep(1)
        await far.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some()


@simulated
async def test_leaving_the_network_ends_everything_and_keeps_the_error(run: SeededRun) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with connected(run) as (_, near, far):
            raise KeyError("mine")
    for end in (near, far):
        with pytest.raises(trio.BrokenResourceError, match="shut down"):
            await end.receive_some()
    group = ExceptionGroup("mine too", [KeyError("nested")])
    with pytest.raises(ExceptionGroup) as caught:
        async with connected(run):
            raise group
    assert caught.value is group
    with trio.move_on_after(1) as scope:
        async with connected(run):
            await trio.sleep_forever()
    assert scope.cancelled_caught


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


async def chatter(run: SeededRun) -> str:
    """Several hosts talk while links fail; everything that matters ends up in the trace."""
    settings = LinkSettings(latency_max=0.05, split=0.3, buffer_size=4096)
    rng = run.rng("chatter")
    hosts = ["a", "b", "c"]

    async def serve(listener: SimListener) -> None:
        async with trio.open_nursery() as handlers:
            while True:
                handlers.start_soon(echo, await listener.accept())

    async def echo(stream: SimStream) -> None:
        try:
            while data := await stream.receive_some(1000):
                await stream.send_all(data)
        except trio.BrokenResourceError as error:
            run.trace.record(f"echo {error}")
        await stream.aclose()

    async def talk(network: SimNetwork, source: str, target: str) -> None:
        for _ in range(5):
            try:
                stream = await network.dial(source, f"{target}:1")
                for _ in range(10):
                    data = rng.randbytes(rng.randrange(1, 4000))
                    await stream.send_all(data)
                    unread = len(data)
                    while unread and (echoed := await stream.receive_some()):
                        unread -= len(echoed)
                await stream.aclose()
            except (OSError, trio.BrokenResourceError) as error:
                run.trace.record(f"talk {source} {target} {error}")

    async with (
        SimNetwork(run.rng("network"), settings, trace=run.trace, connect_timeout=2) as network,
        trio.open_nursery() as servers,
    ):
        for host in hosts:
            servers.start_soon(serve, await network.listen(f"{host}:1"))
        async with trio.open_nursery() as talkers:
            for source in hosts:
                for target in hosts:
                    talkers.start_soon(talk, network, source, target)
            for _ in range(10):
                await trio.sleep(rng.uniform(0.05, 0.5))
                one, other = rng.sample(hosts, 2)
                network.partition(one, other, lose=rng.random() < 0.5)
                await trio.sleep(rng.uniform(0.05, 0.5))
                network.heal()
                network.reset(one, other, after_bytes=rng.randrange(3000))
        servers.cancel_scope.cancel()
    assert run.trace.count > 500
    return run.trace.hash()


def test_same_seed_same_network() -> None:
    hashes = [run_seeded(chatter, seed) for seed in (1, 2, 1, 2)]
    assert hashes[0] == hashes[2]
    assert hashes[1] == hashes[3]
    assert hashes[0] != hashes[1]


def test_same_seed_in_processes_with_other_string_hashes() -> None:
    script = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from test_network import chatter\n"
        "from trioraft.testing.scheduler import run_seeded\n"
        "print(run_seeded(chatter, 5))\n"
    )
    hashes = [
        subprocess.run(
            [sys.executable, "-c", script, os.path.dirname(__file__)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert hashes[0] == hashes[1] == run_seeded(chatter, 5).encode() + b"\n"
