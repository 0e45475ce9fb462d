"""No request, however odd, may raise: an exception from a machine stops it on every replica."""

from __future__ import annotations

import random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import KvMachine, Tag
from trioraft.machines.kv.capture import StoreCapture
from trioraft.machines.kv.snapshot import SnapshotDecoder
from trioraft.node.machine import Command

INTEGERS = [0, 0, 0, 1, 2, 3, 5, -1, -2, 2**31, 2**62, 2**63 - 1, -(2**63)]
BYTES = [b"", b"\0", b"a", b"b", b"a\0", b"\xff\xff", bytes(300)]
REQUESTS = {
    Tag.PUT: rpc_pb2.PutRequest,
    Tag.DELETE_RANGE: rpc_pb2.DeleteRangeRequest,
    Tag.TXN: rpc_pb2.TxnRequest,
    Tag.COMPACT: rpc_pb2.CompactionRequest,
    Tag.RANGE: rpc_pb2.RangeRequest,
    Tag.READ_TXN: rpc_pb2.TxnRequest,
    Tag.HASH_KV: rpc_pb2.HashKVRequest,
}


def fill(message: Any, rng: random.Random, depth: int = 0) -> Any:
    """Set random fields of a message to odd values; of a oneof the last one set stays."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.4:
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if depth > 6:
                continue
            inner = [fill(field.message_type._concrete_class(), rng, depth + 1) for _ in range(2)]
            if field.is_repeated:
                getattr(message, field.name).extend(inner[: rng.randrange(3)])
            else:
                getattr(message, field.name).CopyFrom(inner[0])
        elif field.type == FieldDescriptor.TYPE_BYTES:
            setattr(message, field.name, rng.choice(BYTES))
        elif field.type == FieldDescriptor.TYPE_BOOL:
            setattr(message, field.name, rng.random() < 0.5)
        elif field.type == FieldDescriptor.TYPE_ENUM:
            setattr(message, field.name, rng.choice([0, 1, 2, 3, 4, 5, -1, 2**31 - 1]))
        else:
            setattr(message, field.name, rng.choice(INTEGERS))
    return message


@given(seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
async def test_odd_requests_are_answered_and_the_state_stays_sound(seed: int) -> None:
    rng = random.Random(seed)
    machine, twin = KvMachine(), KvMachine()
    for step in range(30):
        tag = rng.choice(list(REQUESTS))
        data = tag.encode(fill(REQUESTS[tag](), rng).SerializeToString())
        command = [Command(step, 1, data)]
        assert await machine.apply(command) == await twin.apply(command)
        assert await machine.query(data) == await twin.query(data)
    store = machine._store
    decoder = SnapshotDecoder()
    for chunk in StoreCapture(store).chunks():
        decoder.feed(chunk)
    restored = decoder.finish()
    assert restored.index.all_keys() == store.index.all_keys()
    assert b"".join(StoreCapture(restored).chunks()) == b"".join(StoreCapture(twin._store).chunks())
