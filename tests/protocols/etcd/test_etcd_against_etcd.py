"""The same random requests to a real etcd and to our services: the same answers, field by field.

Needs Debian's `etcd` (3.4). What may differ: ids and term in the header, and the order of equal
elements under a sort, which etcd leaves open.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from etcd_backend import DirectBackend
from kv_requests import METHODS, RESPONSES, RequestMaker

from trioraft._proto.etcd import rpc_pb2
from trioraft.protocols.etcd import etcd_services
from trioraft.rpc import Cardinality, Channel, Encoded, GRPCError, open_channel, serve

ETCD = shutil.which("etcd")
ROUNDS = int(os.environ.get("TRIORAFT_ETCD_ROUNDS", "700"))

pytestmark = pytest.mark.skipif(ETCD is None, reason="needs etcd (apt install etcd-server)")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[str]:
    """The address of an etcd of its own, started for the test."""
    assert ETCD is not None
    client, peer = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
    arguments = [
        f"--data-dir={tmp_path / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=only={peer}",
    ]
    with (tmp_path / "etcd.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            [ETCD, "--name=only", "--logger=zap", *arguments], stdout=log, stderr=log
        )
    try:
        yield client.removeprefix("http://")
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _ask(channel: Channel, request: Any) -> Any:
    """The decoded response, or (status, message)."""
    path = f"/etcdserverpb.KV/{METHODS[type(request)]}"
    try:
        async with channel.request(path, Cardinality.UNARY_UNARY, Encoded, Encoded) as stream:
            await stream.send_message(Encoded(request.SerializeToString()), end=True)
            data = await stream.recv_message()
    except GRPCError as error:
        return error.status, error.message
    assert data is not None
    return RESPONSES[type(request)].FromString(data)


async def _wait_until_up(channel: Channel) -> None:
    with trio.fail_after(20):
        up = rpc_pb2.RangeRequest(key=b"up")
        while isinstance(await _ask(channel, up), tuple):
            await trio.sleep(0.1)


_SORT_FIELDS = {
    rpc_pb2.RangeRequest.VERSION: "version",
    rpc_pb2.RangeRequest.CREATE: "create_revision",
    rpc_pb2.RangeRequest.MOD: "mod_revision",
    rpc_pb2.RangeRequest.VALUE: "value",
}


def _without_order_of_equals(request: Any, response: Any) -> None:
    """Keep only the sort field of pairs whose order, or choice under a limit, is left open."""
    if isinstance(request, rpc_pb2.TxnRequest):
        operations = request.success if response.succeeded else request.failure
        for operation, result in zip(operations, response.responses, strict=True):
            kind = operation.WhichOneof("request")
            if kind in ("request_range", "request_txn"):
                inner = getattr(result, kind.replace("request", "response"))
                _without_order_of_equals(getattr(operation, kind), inner)
    elif isinstance(request, rpc_pb2.RangeRequest):
        field = _SORT_FIELDS.get(request.sort_target)
        if field is not None and (field != "value" or not request.keys_only):
            kept = [type(kv)(**{field: getattr(kv, field)}) for kv in response.kvs]
            response.ClearField("kvs")
            response.kvs.extend(kept)
        elif field is not None:
            kept = [type(kv)() for kv in response.kvs]
            response.ClearField("kvs")
            response.kvs.extend(kept)


def _comparable(request: Any, answer: Any) -> Any:
    if isinstance(answer, tuple):
        return answer
    for field in ("cluster_id", "member_id", "raft_term"):
        answer.header.ClearField(field)
    _without_order_of_equals(request, answer)
    return answer


@pytest.mark.parametrize("seed", [1, 2])
async def test_random_requests_get_the_answers_of_etcd(etcd: str, seed: int) -> None:
    maker = RequestMaker(random.Random(seed))
    answered = refused = 0
    async with trio.open_nursery() as nursery:
        services = etcd_services(DirectBackend())
        ((host, port),) = await nursery.start(partial(serve, services, port=0))
        async with open_channel(etcd) as theirs, open_channel(f"{host}:{port}") as ours:
            await _wait_until_up(theirs)
            for step in range(ROUNDS):
                request = maker.request()
                expected = _comparable(request, await _ask(theirs, request))
                answer = _comparable(request, await _ask(ours, request))
                assert answer == expected, f"seed {seed}, step {step}: {request}"
                if isinstance(answer, tuple):
                    refused += 1
                else:
                    answered += 1
                    maker.revision = max(maker.revision, answer.header.revision)
        nursery.cancel_scope.cancel()
    assert answered > refused > 0
    assert maker.revision > ROUNDS // 5
