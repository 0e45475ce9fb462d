"""What clients do in a simulated run, and how what they saw is judged.

A `Workload` brings both. Any number of `SimClient`s run it at the same time, each a machine
of its own on the simulated network, with a seeded generator of its own.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

from trioraft.client import Client, RetryPolicy, open_client
from trioraft.node import StateMachine
from trioraft.rpc import Channel, Limits, open_channel

from .cluster import SimCluster
from .invariants import InvariantViolatedError
from .network import SimStream
from .trace import Trace

__all__ = ["SimClient", "Workload"]


class SimClient:
    """One client machine of a simulated cluster.

    name: its host name. rng: its randomness. trace: where it may tell what it does.
    stopping: set when the faults are over: finish what is under way, and return.
    """

    def __init__(
        self, name: str, cluster: SimCluster, rng: random.Random, trace: Trace, stopping: trio.Event
    ) -> None:
        self.name = name
        self.cluster = cluster
        self.rng = rng
        self.trace = trace
        self.stopping = stopping

    @asynccontextmanager
    async def connect(self, *names: str, timeout: float = 10.0) -> AsyncIterator[Client]:
        """trioraft's own client of the cluster: finds the leader, retries for `timeout` s.

        names: the nodes to ask; all of them if there are none.
        """
        addresses = self.cluster.addresses
        async with open_client(
            [addresses[name] for name in names or addresses],
            policy=RetryPolicy(timeout=timeout),
            rng=random.Random(self.rng.getrandbits(64)),
            dial=self._dial,
        ) as client:
            yield client

    @asynccontextmanager
    async def channels(self) -> AsyncIterator[list[Channel]]:
        """A channel to every node, wherever that moves, for the stubs of other services."""
        limits = Limits(reconnect_min=0.01, reconnect_max=0.2, connect_timeout=1.0)
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(
                    open_channel(
                        address,
                        dial=partial(self._dial, address),
                        limits=limits,
                        rng=random.Random(self.rng.getrandbits(64)),
                    )
                )
                for address in self.cluster.addresses.values()
            ]

    async def _dial(self, address: str) -> SimStream:
        """To wherever the node at `address` is by now, as by a name that is looked up again."""
        host = address.partition(":")[0]
        addresses = self.cluster.addresses.values()
        present = next((a for a in addresses if a.partition(":")[0] == host), address)
        return await self.cluster.network.dial(self.name, present)

    async def think(self) -> None:
        """Pause for a moment, as between two calls."""
        await trio.sleep(self.rng.uniform(0.001, 0.05))


class Workload(ABC):
    """What every client does, and the verdict. One object serves all clients of a run.

    counts: how often what has happened, for the outcome. A run in which nothing was acknowledged
    proves nothing: look at it.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    @abstractmethod
    async def run(self, client: SimClient) -> None:
        """The life of one client: calls, until `client.stopping` is set.

        Errors of the cluster are what the run is about, so expect them. Whatever is raised
        fails the run. Cancelled if it does not return soon after the end of all faults.
        """

    @abstractmethod
    async def check(self, client: SimClient) -> None:
        """All faults are over and all nodes agree: look once more, and judge.

        Raises InvariantViolatedError, or any AssertionError.
        """

    async def state_of(self, machine: StateMachine) -> object:
        """What must be equal on all replicas in the end: by default what a snapshot would hold."""
        sink = _Sink()
        await machine.snapshot(sink)
        return bytes(sink.data)

    async def check_replicas(self, machines: Mapping[str, StateMachine]) -> None:
        """All replicas hold the same. Raises InvariantViolatedError."""
        states = [(name, await self.state_of(machine)) for name, machine in machines.items()]
        for name, state in states[1:]:
            if state != states[0][1]:
                raise InvariantViolatedError(f"replicas {states[0][0]} and {name} differ")


class _Sink:
    def __init__(self) -> None:
        self.data = bytearray()

    async def write(self, data: bytes) -> None:
        self.data += data

    async def create_file(self, name: str) -> None:
        self.data += b"\0" + name.encode() + b"\0"
