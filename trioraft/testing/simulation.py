"""`simulate_kv`: a whole cluster under load and faults from a seed, and the check at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial

import trio

from trioraft.host import KvBackend, Node
from trioraft.machines.kv import KvMachine
from trioraft.node import RuntimeSettings
from trioraft.protocols.etcd import etcd_services
from trioraft.raft.errors import NotLeaderError
from trioraft.rpc import Service

from .cluster import SimCluster
from .faults import FaultInjector
from .invariants import InvariantViolatedError
from .scheduler import SeededRun, run_seeded
from .trace import Trace
from .workload import History, RegisterClient, check_replicas

__all__ = ["Outcome", "simulate_kv"]

_SETTLING = 3.0  # virtual seconds in which calls that were under way reach their deadlines
_CONVERGENCE = 60.0  # virtual seconds that healed nodes get to agree


@dataclass(frozen=True)
class Outcome:
    """What one seed did. The same seed gives the same outcome, `trace_hash` included."""

    seed: int
    wire: str
    writes: int  # acknowledged
    reads: int  # answered
    faults: Counter[str]
    seconds: float  # virtual
    events: int
    trace_hash: str


def simulate_kv(
    seed: int,
    *,
    wire: str | None = None,
    seconds: float = 5.0,
    clients: int = 3,
    size: int = 3,
    trace: Trace | None = None,
) -> Outcome:
    """Run `size` complete nodes and `clients` clients for `seconds` of virtual time.

    wire: the peer dialect; by default the seed chooses.
    trace: pass one to read it when the run fails.

    Raises InvariantViolatedError when an acknowledged write is lost, a read is not
    linearizable, replicas differ or do not converge; SimulationStuckError; and whatever made
    a node fail.
    """
    wire = wire or ("ratis", "openraft")[seed % 2]
    trace = trace or Trace()
    main = partial(_main, wire=wire, seconds=seconds, clients=clients, size=size)
    return run_seeded(main, seed, trace=trace)


def _services(node: Node) -> list[Service]:
    return etcd_services(KvBackend(node))


async def _main(run: SeededRun, *, wire: str, seconds: float, clients: int, size: int) -> Outcome:
    history = History()
    async with SimCluster(
        run,
        new_machine=KvMachine,
        services=_services,
        size=size,
        wire=wire,
        settings=RuntimeSettings(
            snapshot_after_entries=40, keep_entries=10, snapshot_chunk_bytes=500
        ),
    ) as cluster:
        faults = FaultInjector(cluster, run.rng("faults"), run.trace)
        for name in cluster.names:
            await cluster.start(name)
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(faults.run)
                for number in range(clients):
                    name = f"client{number}"
                    client = RegisterClient(name, cluster, history, run.rng(name), run.trace)
                    nursery.start_soon(client.run)
        await faults.repair()
        await trio.sleep(_SETTLING)
        await _converge(cluster)
        await check_replicas(cluster, history, cluster.names)
    return Outcome(
        seed=run.seed,
        wire=wire,
        writes=history.writes,
        reads=history.reads,
        faults=faults.counts,
        seconds=trio.current_time(),
        events=run.trace.count,
        trace_hash=run.trace.hash(),
    )


async def _converge(cluster: SimCluster) -> None:
    """Wait until all nodes follow one leader and have applied everything it has."""
    with trio.move_on_after(_CONVERGENCE):
        while not await _agree(cluster):
            await trio.sleep(0.05)
        return
    state = ", ".join(
        f"{name}: {node.role.name} {node.term} {node.applied_index}/{node.commit_index}"
        for name, node in cluster.nodes.items()
    )
    raise InvariantViolatedError(f"no agreement {_CONVERGENCE:g} s after all was healed ({state})")


async def _agree(cluster: SimCluster) -> bool:
    leader = cluster.leader()
    if leader is None or len(cluster.nodes) < len(cluster.names):
        return False
    with trio.move_on_after(1.0):
        try:
            index = await cluster.nodes[leader].read_index()
        except NotLeaderError:
            return False
        return all(
            node.leader == leader and node.applied_index == index for node in cluster.nodes.values()
        )
    return False
