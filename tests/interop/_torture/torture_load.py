"""Clients that read, write and compare-and-set, and write down what they were told."""

from __future__ import annotations

import itertools
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import trio

from trioraft._proto.etcd.rpc_grpc import KVStub
from trioraft._proto.etcd.rpc_pb2 import Compare, PutRequest, RangeRequest, RequestOp, TxnRequest
from trioraft.rpc import GRPCError, Limits, open_channel
from trioraft.testing.linearizability import History

__all__ = ["PREFIX", "Load"]

PREFIX = b"torture/"
SLOTS = 6  # keys in use at a time
FRESH = 3.0  # seconds after which clients go on to new keys: unknown outcomes stay few per key
TIMEOUT = 1.0  # seconds for a call
PAUSE = 0.01  # seconds between two calls of a client, on average


@dataclass
class Load:
    """The clients and their common history."""

    addresses: list[str]
    clients: int
    seed: int
    history: History = field(default_factory=History)
    answered: list[float] = field(default_factory=list)  # when answers came
    failed: list[float] = field(default_factory=list)
    _values: itertools.count[int] = field(default_factory=itertools.count)
    _start: float = field(default_factory=trio.current_time)

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for number in range(self.clients):
                nursery.start_soon(self._client, f"client{number}", self.seed * 1000 + number)

    async def _client(self, name: str, seed: int) -> None:
        rng = random.Random(seed)
        limits = Limits(reconnect_min=0.02, reconnect_max=0.3, connect_timeout=1.0)
        async with AsyncExitStack() as stack:
            stubs = [
                KVStub(await stack.enter_async_context(open_channel(address, limits=limits)))
                for address in self.addresses
            ]
            stub = rng.choice(stubs)
            seen: dict[bytes, bytes | None] = {}
            while True:
                key = self._key(rng)
                try:
                    await self._one_call(rng, name, stub, key, seen)
                except GRPCError:
                    self.failed.append(trio.current_time())
                    stub = rng.choice(stubs)
                    await trio.sleep(rng.uniform(0.02, 0.1))
                else:
                    self.answered.append(trio.current_time())
                await trio.sleep(rng.uniform(0, 2 * PAUSE))

    def _key(self, rng: random.Random) -> bytes:
        age = int((trio.current_time() - self._start) / FRESH)
        return b"%s%06d/%d" % (PREFIX, age, rng.randrange(SLOTS))

    async def _one_call(
        self,
        rng: random.Random,
        name: str,
        stub: KVStub,
        key: bytes,
        seen: dict[bytes, bytes | None],
    ) -> None:
        """A call without an answer leaves an operation of unknown outcome in the history."""
        choice = rng.random()
        new = b"%d" % next(self._values)
        if choice < 0.5:
            with self.history.call(name, "get", key=key) as call:
                reply = await stub.Range(RangeRequest(key=key), timeout=TIMEOUT)
                value = reply.kvs[0].value if reply.kvs else None
                call.ok(value)
            seen.clear()
            seen[key] = value
        elif choice < 0.8 or key not in seen or seen[key] is None:
            with self.history.call(name, "put", new, key=key) as call:
                await stub.Put(PutRequest(key=key, value=new), timeout=TIMEOUT)
                call.ok()
        else:
            old = seen[key]
            argument = (old, (("put", new),), (("get",),))
            with self.history.call(name, "txn", argument, key=key) as call:
                reply = await stub.Txn(_swap(key, old, new), timeout=TIMEOUT)
                if reply.succeeded:
                    call.ok((True, (None,)))
                else:
                    kvs = reply.responses[0].response_range.kvs
                    call.ok((False, (kvs[0].value if kvs else None,)))


def _swap(key: bytes, old: bytes | None, new: bytes) -> TxnRequest:
    """If the value is `old` put `new`, else read it."""
    compare = Compare(target=Compare.VALUE, result=Compare.EQUAL, key=key, value=old)
    put = RequestOp(request_put=PutRequest(key=key, value=new))
    get = RequestOp(request_range=RangeRequest(key=key))
    return TxnRequest(compare=[compare], success=[put], failure=[get])
