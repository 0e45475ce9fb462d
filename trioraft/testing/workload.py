"""Clients of a simulated cluster, and the check of what they were told.

Each client owns a few keys and overwrites them with rising numbers, through the etcd API and
whichever node answers. A write without an answer may still take effect at any later time, so
its key is not written again. Hence what may be read of a key is known at any time: no less
than the last acknowledged number, no more than the last one tried.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

import trio

from trioraft._proto.etcd.rpc_grpc import KVStub
from trioraft._proto.etcd.rpc_pb2 import PutRequest, RangeRequest
from trioraft.rpc import GRPCError, Limits, open_channel

from .cluster import SimCluster
from .invariants import InvariantViolatedError
from .trace import Trace

__all__ = ["History", "RegisterClient", "check_replicas"]


@dataclass
class History:
    """What was tried and what was acknowledged, by key."""

    tried: dict[bytes, int] = field(default_factory=dict)
    acknowledged: dict[bytes, int] = field(default_factory=dict)
    writes: int = 0  # acknowledged
    reads: int = 0  # answered

    def check(self, key: bytes, value: bytes | None, where: str, floor: int | None) -> None:
        """`value` was read of `key`; `floor` was acknowledged before the read began."""
        found = 0 if value is None else int(value)
        if floor is not None and found < floor:
            raise InvariantViolatedError(
                f"{where}: {key!r} is {found}, but {floor} was acknowledged"
            )
        if found > self.tried.get(key, 0):
            raise InvariantViolatedError(f"{where}: {key!r} is {found}, which nobody wrote")


class RegisterClient:
    """One client machine with one writer task's worth of keys."""

    def __init__(
        self, name: str, cluster: SimCluster, history: History, rng: random.Random, trace: Trace
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._history = history
        self._rng = rng
        self._trace = trace
        self._numbers = itertools.count()
        self._keys = [self._new_key() for _ in range(3)]

    def _new_key(self) -> bytes:
        return f"{self._name}/{next(self._numbers)}".encode()

    async def run(self) -> None:
        """Write and read until cancelled. Raises InvariantViolatedError."""
        limits = Limits(reconnect_min=0.01, reconnect_max=0.2, connect_timeout=1.0)
        async with AsyncExitStack() as stack:
            stubs: list[KVStub] = []
            for address in self._cluster.addresses.values():
                channel = await stack.enter_async_context(
                    open_channel(
                        address,
                        dial=partial(self._cluster.network.dial, self._name, address),
                        limits=limits,
                        rng=random.Random(self._rng.getrandbits(64)),
                    )
                )
                stubs.append(KVStub(channel))
            while True:
                stub = self._rng.choice(stubs)
                key = self._rng.choice(self._keys)
                if self._rng.random() < 0.7:
                    await self._write(stub, key)
                else:
                    await self._read(stub, key)
                await trio.sleep(self._rng.uniform(0.001, 0.05))

    async def _write(self, stub: KVStub, key: bytes) -> None:
        history = self._history
        number = history.tried.get(key, 0) + 1
        history.tried[key] = number
        try:
            await stub.Put(PutRequest(key=key, value=b"%d" % number), timeout=1.0)
        except GRPCError as error:
            self._trace.record(f"{key!r} <- {number}: {error.status.name}")
            self._keys[self._keys.index(key)] = self._new_key()
            return
        history.acknowledged[key] = number
        history.writes += 1
        self._trace.record(f"{key!r} <- {number}: OK")

    async def _read(self, stub: KVStub, key: bytes) -> None:
        floor = self._history.acknowledged.get(key)
        try:
            reply = await stub.Range(RangeRequest(key=key), timeout=1.0)
        except GRPCError as error:
            self._trace.record(f"{key!r} ->: {error.status.name}")
            return
        value = reply.kvs[0].value if reply.kvs else None
        self._trace.record(f"{key!r} -> {value!r}")
        self._history.reads += 1
        self._history.check(key, value, "linearizable read", floor)


async def check_replicas(cluster: SimCluster, history: History, names: Sequence[str]) -> None:
    """Read every key from every replica: all acknowledged, nothing invented, all replicas alike.

    Raises InvariantViolatedError.
    """
    contents: dict[str, dict[bytes, bytes]] = {}
    for name in names:
        address = cluster.addresses[name]
        async with open_channel(
            address,
            dial=partial(cluster.network.dial, "checker", address),
            rng=random.Random(0),
        ) as channel:
            reply = await KVStub(channel).Range(
                RangeRequest(key=b"\0", range_end=b"\0", serializable=True)
            )
        contents[name] = {pair.key: pair.value for pair in reply.kvs}
        for key in history.tried:
            floor = history.acknowledged.get(key)
            history.check(key, contents[name].get(key), f"replica {name}", floor)
    first = contents[names[0]]
    for name in names[1:]:
        if contents[name] != first:
            raise InvariantViolatedError(f"replicas {names[0]} and {name} differ")
