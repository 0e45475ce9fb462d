"""What the tests of the KV machine share: commands for it, and reads from it."""

from __future__ import annotations

from typing import Any

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import KvMachine, Tag, decode_reply
from trioraft.node.machine import Command


def command(tag: Tag, request: Any) -> Command:
    return Command(0, 1, tag.encode(request.SerializeToString()))


def put(key: bytes, value: bytes = b"", **options: Any) -> Command:
    return command(Tag.PUT, rpc_pb2.PutRequest(key=key, value=value, **options))


async def read(machine: KvMachine, key: bytes, **options: Any) -> rpc_pb2.RangeResponse:
    request = rpc_pb2.RangeRequest(key=key, **options)
    reply = await machine.query(Tag.RANGE.encode(request.SerializeToString()))
    return rpc_pb2.RangeResponse.FromString(decode_reply(reply).body)
