"""The simulated network without faults: TCP's manners, latency, bandwidth, dialling and closing."""

from __future__ import annotations

import pytest
import trio
from network_kit import INSTANT, STEADY, connected, join, receive_exactly, simulated
from trio.testing import check_half_closeable_stream

from trioraft.testing.network import LinkSettings, SimNetwork, SimStream
from trioraft.testing.scheduler import SeededRun, run_seeded


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
