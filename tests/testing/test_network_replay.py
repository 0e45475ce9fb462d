"""The same seed makes the same network, byte for byte, in any process."""

from __future__ import annotations

import os
import subprocess
import sys

import trio

from trioraft.testing.network import LinkSettings, SimListener, SimNetwork, SimStream
from trioraft.testing.scheduler import SeededRun, run_seeded


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
        "from test_network_replay import chatter\n"
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
