"""`simulate`: a whole cluster under load and faults from a seed, and the verdict at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import trio

from trioraft.host import KvBackend, Node
from trioraft.machines.counter import CounterMachine
from trioraft.machines.kv import KvMachine
from trioraft.node import RuntimeSettings, StateMachine
from trioraft.node.sessions import SessionLimits
from trioraft.protocols.etcd import etcd_services
from trioraft.raft import RaftConfig
from trioraft.rpc import Service

from .choices import (
    HOST_LINKS,
    LINKS,
    REST,
    SMALL,
    TIGHT_SESSIONS,
    draw_priorities,
    draw_size,
    tightened,
)
from .cluster import QUICK_ELECTIONS, SimCluster
from .convergence import converge
from .counting import CounterWorkload
from .faults import FaultInjector, choose_faults
from .scheduler import SeededRun, run_seeded
from .trace import Trace
from .workload import SimClient, Workload
from .workloads import KeyWorkload

__all__ = ["Outcome", "simulate", "simulate_counter", "simulate_kv"]

_FINISHING = 30.0  # virtual seconds in which clients bring calls that are under way to an end


@dataclass(frozen=True)
class Outcome:
    """What one seed did. The same seed gives the same outcome, `trace_hash` included.

    counts: what the workload counted. rests: how often a node went to rest. faults: those that
    happened, by kind. commands: applied by the machines. leaderships: terms that had a leader.
    seconds: of virtual time.
    """

    seed: int
    wire: str
    counts: Counter[str]
    rests: int
    faults: Counter[str]
    commands: int
    leaderships: int
    seconds: float
    events: int
    trace_hash: str

    @property
    def writes(self) -> int:
        """Writes that were acknowledged, as the workload counted them."""
        return self.counts["writes"]


@dataclass(frozen=True)
class _Plan:
    new_machine: Callable[[], StateMachine]
    workload: Workload
    services: Callable[[Node], Sequence[Service]] | None
    wire: str
    seconds: float
    clients: int
    size: int | None
    faults: Sequence[str] | None
    config: RaftConfig | None
    settings: RuntimeSettings
    rest: bool
    tight: bool


def simulate(
    seed: int,
    *,
    new_machine: Callable[[], StateMachine],
    workload: Workload,
    services: Callable[[Node], Sequence[Service]] | None = None,
    wire: str | None = None,
    seconds: float = 5.0,
    clients: int = 5,
    size: int | None = None,
    faults: Sequence[str] | None = None,
    config: RaftConfig | None = None,
    settings: RuntimeSettings | None = None,
    rest: bool | None = None,
    tight: bool | None = None,
    trace: Trace | None = None,
) -> Outcome:
    """Run complete nodes, and `clients` clients for `seconds` of virtual time.

    Args:
        new_machine: makes a node's state machine, at every start anew. It must be repeatable:
            time from `trio.current_time()`, no randomness, no iteration over sets.
        workload: what clients do, and the verdict. A new one for every run.
        services: more services of a node, as `open_node` takes them.
        wire: the peer dialect; by default the seed chooses.
        size: how many nodes the group begins with; by default the seed chooses, mostly three.
        faults: kinds out of `testing.faults.FAULTS`, () for none; by default the seed chooses.
        config, settings: of the nodes; by default quick elections and frequent snapshots.
        rest: whether the group rests whenever it is idle; by default in every third seed.
        tight: whether queues have so little room that calls are refused; by default in every
            fifth seed, unless `config` or `settings` are given.
        trace: pass one to read it when the run fails.

    Raises InvariantViolatedError when Raft's promises are broken, replicas differ or do not
    converge; what the workload's verdict raises; SimulationStuckError; and whatever made a
    node fail.
    """
    plan = _Plan(
        new_machine,
        workload,
        services,
        wire or ("ratis", "openraft")[seed % 2],
        seconds,
        clients,
        size,
        faults,
        config,
        settings or SMALL,
        seed % 3 == 2 if rest is None else rest,
        seed % 5 == 4 and config is None and settings is None if tight is None else tight,
    )
    return run_seeded(lambda run: _main(run, plan), seed, trace=trace or Trace())


def simulate_kv(
    seed: int, *, wire: str | None = None, seconds: float = 5.0, trace: Trace | None = None
) -> Outcome:
    """`simulate` with the key-value machine, behind its etcd API (`KeyWorkload`)."""
    return simulate(
        seed,
        new_machine=KvMachine,
        workload=KeyWorkload(),
        services=_etcd_services,
        wire=wire,
        seconds=seconds,
        trace=trace,
    )


def simulate_counter(
    seed: int, *, wire: str | None = None, seconds: float = 5.0, trace: Trace | None = None
) -> Outcome:
    """`simulate` with a counter, to which retried calls add exactly once (`CounterWorkload`).

    Every other seed has so little room for sessions that they are evicted and expire.
    """
    limits = TIGHT_SESSIONS if seed % 4 >= 2 else SessionLimits()
    return simulate(
        seed,
        new_machine=CounterMachine,
        workload=CounterWorkload(),
        wire=wire,
        seconds=seconds,
        settings=replace(SMALL, sessions=limits),
        tight=seed % 5 == 4,
        trace=trace,
    )


def _etcd_services(node: Node) -> list[Service]:
    return etcd_services(KvBackend(node))


async def _main(run: SeededRun, plan: _Plan) -> Outcome:
    world = run.rng("world")
    kinds = choose_faults(world) if plan.faults is None else plan.faults
    config, settings = plan.config, plan.settings
    if config is None:
        config = replace(QUICK_ELECTIONS, lease_reads=world.random() < 0.5)
    if plan.tight:
        config, settings = tightened(config, settings)
    size = draw_size(run.rng("size")) if plan.size is None else plan.size
    cluster = SimCluster(
        run,
        new_machine=plan.new_machine,
        services=plan.services,
        size=size,
        spares=2 if "membership" in kinds or "members set" in kinds else 0,
        priorities=_priorities(run, plan.wire, size),
        wire=plan.wire,
        config=config,
        settings=settings,
        links=world.choice(LINKS),
        clock_drift=world.choice((0.0, 0.05)),
        host_links=HOST_LINKS if plan.rest else None,
        rest=REST if plan.rest else None,
    )
    async with cluster:
        faults = FaultInjector(cluster, run.rng("faults"), run.trace, kinds)
        for name in cluster.names:
            await cluster.start(name)
        stopping = trio.Event()

        def client(name: str) -> SimClient:
            return SimClient(name, cluster, run.rng(name), run.trace, stopping)

        async with trio.open_nursery() as nursery:
            for number in range(plan.clients):
                nursery.start_soon(plan.workload.run, client(f"client{number}"))
            with trio.move_on_after(plan.seconds):
                await faults.run()
                await trio.sleep_forever()
            run.trace.record("repair")
            await faults.repair()
            stopping.set()
            nursery.cancel_scope.deadline = trio.current_time() + _FINISHING
        await converge(cluster, faults)
        members = cluster.members()
        await plan.workload.check_replicas({name: cluster.machines[name] for name in members})
        await plan.workload.check(client("checker"))
    return Outcome(
        seed=run.seed,
        wire=plan.wire,
        counts=plan.workload.counts,
        rests=cluster.rests,
        faults=faults.counts,
        commands=cluster.applied.count,
        leaderships=len(cluster.invariants.leaders),
        seconds=trio.current_time(),
        events=run.trace.count,
        trace_hash=run.trace.hash(),
    )


def _priorities(run: SeededRun, wire: str, size: int) -> dict[str, int]:
    if wire != "ratis":  # openraft has none
        return {}
    names = [str(number + 1) for number in range(size)]
    return draw_priorities(run.rng("priorities"), names)
