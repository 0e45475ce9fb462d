"""The KV machine against the naive model: random requests, reads in the past, compactions."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from kv_model import Model
from kv_requests import COMMAND_TAGS, KEYS, RESPONSES, RequestMaker

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import KvError, KvMachine, Tag, decode_reply
from trioraft.node.machine import Command


async def ask(machine: KvMachine, request: Any) -> tuple[Any, int | None]:
    """(response without header, or the error's text; the revision that came with it)."""
    data = request.SerializeToString()
    tag = COMMAND_TAGS.get(type(request))
    if tag is None:
        reply = await machine.query(Tag.RANGE.encode(data))
    else:
        (reply,) = await machine.apply([Command(0, 1, tag.encode(data))])
    try:
        revision, body = decode_reply(reply)
    except KvError as error:
        return error.message, None
    return RESPONSES[type(request)].FromString(body), revision


def plain_range(maker: RequestMaker) -> rpc_pb2.RangeRequest:
    request = maker.range()
    for name in ("sort_order", "sort_target"):
        request.ClearField(name)
    for name in ("min_mod", "max_mod", "min_create", "max_create"):
        request.ClearField(f"{name}_revision")
    return request


def model_answer(model: Model, request: Any) -> Any:
    match request:
        case rpc_pb2.RangeRequest():
            return model.range(request)
        case rpc_pb2.PutRequest():
            return model.put(request)
        case rpc_pb2.DeleteRangeRequest():
            return model.delete(request)
        case _:
            return model.compact(request)


@given(seed=st.integers(0, 2**32), steps=st.integers(20, 120))
@settings(max_examples=80, deadline=None)
async def test_it_answers_like_a_list_of_all_writes(seed: int, steps: int) -> None:
    machine, model, maker = KvMachine(), Model(), RequestMaker(random.Random(seed))
    for _ in range(steps):
        kind = maker.rng.choices(["put", "delete", "range", "compact"], [45, 15, 35, 5])[0]
        request = plain_range(maker) if kind == "range" else getattr(maker, kind)()
        expected = model_answer(model, request)
        answer, revision = await ask(machine, request)
        assert answer == expected, request
        assert revision in (None, model.revision)
        maker.revision = model.revision
    await _same_history(machine, model)


async def _same_history(machine: KvMachine, model: Model) -> None:
    """Every revision that is still readable, every key."""
    for at in range(max(1, model.compacted), model.revision + 1):
        request = rpc_pb2.RangeRequest(key=min(KEYS), range_end=b"\0", revision=at)
        answer, _ = await ask(machine, request)
        assert answer == model.range(request)
