"""A workload for the machine with keys: several clients on the same few, through the etcd API."""

from __future__ import annotations

import itertools

from trioraft._proto.etcd.rpc_grpc import KVStub
from trioraft._proto.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from trioraft.rpc import GRPCError

from .linearizability import History, KeyValue, assert_linearizable
from .workload import SimClient, Workload

__all__ = ["KeyWorkload"]

_TIMEOUT = 1.0  # of one call, in virtual seconds
# Leadership may move once more when all have agreed; who never answers is found all the same.
_LAST_TIMEOUT = 10.0


class KeyWorkload(Workload):
    """Several clients on the same few keys: put, get, delete, compare-and-set, on any node.

    What they saw must be linearizable. Values are never used twice, so that every read tells
    which write it saw.
    """

    def __init__(self, keys: int = 3) -> None:
        super().__init__()
        self.history = History()
        self._keys = [f"key{number}".encode() for number in range(keys)]
        self._values = itertools.count(1)

    async def run(self, client: SimClient) -> None:
        async with client.channels() as channels:
            stubs = [KVStub(channel) for channel in channels]
            seen: dict[bytes, bytes | None] = {}  # what this client last saw of each key
            while not client.stopping.is_set():
                stub, key = client.rng.choice(stubs), client.rng.choice(self._keys)
                kind = client.rng.choices(
                    ("put", "get", "compare", "delete", "stale"), (45, 30, 15, 4, 6)
                )[0]
                try:
                    if kind == "put":
                        await self._put(client, stub, key)
                    elif kind == "compare":
                        seen[key] = await self._compare(client, stub, key, seen.get(key))
                    elif kind == "delete":
                        await self._delete(client, stub, key)
                    else:
                        value = await self._get(client, stub, key, stale=kind == "stale")
                        if kind == "get":
                            seen[key] = value
                except GRPCError as error:
                    client.trace.record(f"{client.name} {kind} {key!r}: {error.status.name}")
                await client.think()

    async def check(self, client: SimClient) -> None:
        cluster = client.cluster
        node = cluster.nodes[cluster.members()[0]]
        voters = [cluster.names.index(member.id) for member in node.configuration.voters]
        async with client.channels() as channels:
            for number in range(max(len(voters), len(self._keys))):  # each key, and each voter
                stub = KVStub(channels[voters[number % len(voters)]])
                key = self._keys[number % len(self._keys)]
                await self._get(client, stub, key, timeout=_LAST_TIMEOUT)
        assert_linearizable(self.history.operations, KeyValue())

    def _value(self) -> bytes:
        return b"%d" % next(self._values)

    async def _put(self, client: SimClient, stub: KVStub, key: bytes) -> None:
        value = self._value()
        with self.history.call(client.name, "put", value, key=key) as call:
            await stub.Put(PutRequest(key=key, value=value), timeout=_TIMEOUT)
            call.ok()
        self.counts["writes"] += 1
        client.trace.record(f"{client.name} put {key!r} = {value!r}")

    async def _get(
        self,
        client: SimClient,
        stub: KVStub,
        key: bytes,
        *,
        stale: bool = False,
        timeout: float = _TIMEOUT,
    ) -> bytes | None:
        request = RangeRequest(key=key, serializable=stale)
        if stale:  # promises nothing but an answer
            reply = await stub.Range(request, timeout=timeout)
            return reply.kvs[0].value if reply.kvs else None
        with self.history.call(client.name, "get", key=key) as call:
            reply = await stub.Range(request, timeout=timeout)
            value = reply.kvs[0].value if reply.kvs else None
            call.ok(value)
        self.counts["reads"] += 1
        client.trace.record(f"{client.name} get {key!r} -> {value!r}")
        return value

    async def _delete(self, client: SimClient, stub: KVStub, key: bytes) -> None:
        with self.history.call(client.name, "delete", key=key) as call:
            reply = await stub.DeleteRange(DeleteRangeRequest(key=key), timeout=_TIMEOUT)
            call.ok(reply.deleted > 0)
        self.counts["writes"] += 1
        client.trace.record(f"{client.name} delete {key!r}: {reply.deleted}")

    async def _compare(
        self, client: SimClient, stub: KVStub, key: bytes, expected: bytes | None
    ) -> bytes | None:
        """Put a new value if the key has the expected one; otherwise get what it has."""
        value = self._value()
        argument = (expected, (("put", value),), (("get",),))
        with self.history.call(client.name, "txn", argument, key=key) as call:
            reply = await stub.Txn(_compare_and_set(key, expected, value), timeout=_TIMEOUT)
            found = _found(reply)
            call.ok((reply.succeeded, (None,) if reply.succeeded else (found,)))
        self.counts["transactions"] += 1
        outcome = "done" if reply.succeeded else f"it is {found!r}"
        client.trace.record(
            f"{client.name} put {key!r} = {value!r} if it is {expected!r}: {outcome}"
        )
        return value if reply.succeeded else found


def _compare_and_set(key: bytes, expected: bytes | None, value: bytes) -> TxnRequest:
    compare = Compare(key=key, result=Compare.EQUAL)
    if expected is None:
        compare.target = Compare.CREATE
        compare.create_revision = 0
    else:
        compare.target = Compare.VALUE
        compare.value = expected
    return TxnRequest(
        compare=[compare],
        success=[RequestOp(request_put=PutRequest(key=key, value=value))],
        failure=[RequestOp(request_range=RangeRequest(key=key))],
    )


def _found(reply: TxnResponse) -> bytes | None:
    if reply.succeeded:
        return None
    kvs = reply.responses[0].response_range.kvs
    return kvs[0].value if kvs else None
