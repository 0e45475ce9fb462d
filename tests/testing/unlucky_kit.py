"""What the tests of unlucky moments share: stories told to a cluster, and how they end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio

from trioraft import TrioraftError
from trioraft.host import Node
from trioraft.machines.counter import CounterMachine
from trioraft.node import RuntimeSettings
from trioraft.raft import RaftConfig
from trioraft.testing.cluster import SimCluster
from trioraft.testing.scheduler import SeededRun, run_seeded

logger = logging.getLogger(__name__)
SEEDS = range(6)
Story = Callable[[SimCluster, SeededRun], Awaitable[None]]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What goes wrong here is meant to."""
    logger = logging.getLogger("trioraft")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


def tell(
    story: Story,
    seed: int,
    *,
    spares: int = 1,
    config: RaftConfig | None = None,
    settings: RuntimeSettings | None = None,
) -> None:
    """Run `story` on three started nodes with a leader, and on `spares` that wait to be added."""

    async def main(run: SeededRun) -> None:
        cluster = SimCluster(
            run,
            new_machine=CounterMachine,
            spares=spares,
            wire=("ratis", "openraft")[seed % 2],
            config=config,
            settings=settings,
        )
        async with cluster:
            for name in cluster.names:
                await cluster.start(name)
            with trio.fail_after(300):
                await leader_of(cluster)
                await story(cluster, run)

    run_seeded(main, seed)


async def leader_of(cluster: SimCluster) -> Node:
    while (name := cluster.leader()) is None:
        await trio.sleep(0.01)
    return cluster.nodes[name]


def others(cluster: SimCluster, *but: Node) -> list[Node]:
    """The running members besides these."""
    names = cluster.members()
    return [node for name, node in cluster.nodes.items() if name in names and node not in but]


async def insist(call: Callable[[], Awaitable[object]]) -> None:
    """Until it is done: leaders come and go."""
    while True:
        try:
            await call()
            return
        except TrioraftError:
            await trio.sleep(0.1)


async def agree(cluster: SimCluster, total: int) -> None:
    """All members find the same leader and the same sum."""
    while True:
        members = cluster.members()
        nodes = [cluster.nodes[name] for name in members if name in cluster.nodes]
        if nodes and len(nodes) == len(members) and len({n.applied_index for n in nodes}) == 1:
            break
        await trio.sleep(0.05)
    for node in nodes:
        assert await node.query(b"", linearizable=False) == b"%d" % total, node.id
