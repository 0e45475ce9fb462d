"""The etcd client against a whole node in this process, and around dead endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trioraft import Node, RaftConfig, open_node
from trioraft._proto.etcd.rpc_pb2 import Compare, PutRequest, RangeRequest, RequestOp, TxnRequest
from trioraft.cli.demo.ports import free_addresses
from trioraft.client import EtcdClient, RetryPolicy, open_etcd
from trioraft.client.etcd import prefix_range
from trioraft.host import KvBackend
from trioraft.machines.kv import KvMachine
from trioraft.protocols.etcd import etcd_services
from trioraft.raft.errors import NoQuorumError
from trioraft.rpc import GRPCError, Status

QUICK = RaftConfig(election_timeout_min=0.02, election_timeout_max=0.04, heartbeat_interval=0.01)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    [address] = free_addresses(1)
    async with open_node(
        id="n1",
        peers={"n1": address},
        machine=KvMachine(),
        config=QUICK,
        services=lambda started: etcd_services(KvBackend(started)),
    ) as started:
        yield started


@pytest.fixture
async def client(node: Node) -> AsyncIterator[EtcdClient]:
    async with open_etcd(node.address) as opened:
        yield opened


async def test_put_get_delete(client: EtcdClient) -> None:
    first = await client.put(b"a", b"1")
    assert first.header.revision > 0
    assert (await client.put(b"a", b"2", prev_kv=True)).prev_kv.value == b"1"
    reply = await client.get(b"a")
    assert [(pair.key, pair.value) for pair in reply.kvs] == [(b"a", b"2")]
    old = await client.get(b"a", revision=first.header.revision, serializable=True)
    assert old.kvs[0].value == b"1"
    await client.put(b"b", b"3")
    everything = await client.get(b"a", range_end=b"c", keys_only=True)
    assert [(pair.key, pair.value) for pair in everything.kvs] == [(b"a", b""), (b"b", b"")]
    assert (await client.get(b"a", range_end=b"c", count_only=True)).count == 2
    assert (await client.delete(b"a", range_end=b"c")).deleted == 2
    assert (await client.get(b"a")).count == 0


async def test_pages_are_one_revision(client: EtcdClient) -> None:
    for number in range(25):
        await client.put(b"p/%02d" % number, b"%d" % number)
    seen: list[bytes] = []
    sizes: list[int] = []
    async for page in client.pages(b"p/", range_end=b"p0", page=10):
        sizes.append(len(page))
        seen += [pair.key for pair in page]
        # Neither of these may appear, disappear or shift a later page.
        await client.put(b"p/99", b"new")
        await client.delete(b"p/24")
    assert sizes == [10, 10, 5]
    assert seen == [b"p/%02d" % number for number in range(25)]
    assert [page async for page in client.pages(b"none/", range_end=b"none0")] == []


async def test_txn(client: EtcdClient) -> None:
    request = TxnRequest(
        compare=[Compare(key=b"t", target=Compare.VERSION, result=Compare.EQUAL, version=0)],
        success=[RequestOp(request_put=PutRequest(key=b"t", value=b"first"))],
        failure=[RequestOp(request_range=RangeRequest(key=b"t"))],
    )
    assert (await client.txn(request)).succeeded
    again = await client.txn(request)
    assert not again.succeeded
    assert again.responses[0].response_range.kvs[0].value == b"first"


async def test_refusals_come_through(client: EtcdClient) -> None:
    with pytest.raises(GRPCError, match="key is not provided") as caught:
        await client.put(b"", b"x")
    assert caught.value.status is Status.INVALID_ARGUMENT
    with pytest.raises(GRPCError, match="future revision"):
        await client.get(b"a", revision=10_000)


async def test_dead_endpoints_are_passed_over(node: Node) -> None:
    dead = free_addresses(2)
    async with open_etcd([*dead, node.address]) as client:
        with trio.fail_after(2):
            await client.put(b"a", b"1")
    async with open_etcd(dead, policy=RetryPolicy(timeout=0.2)) as client:
        with pytest.raises(NoQuorumError, match=r"within 0\.2 s"):
            await client.put(b"a", b"1")


async def test_a_txn_is_not_repeated(node: Node) -> None:
    [dead] = free_addresses(1)
    async with open_etcd([dead, node.address], policy=RetryPolicy(follow_interval=0)) as client:
        with pytest.raises(GRPCError) as caught:
            await client.txn(TxnRequest())
        assert caught.value.status is Status.UNAVAILABLE


async def test_pages_shrink_where_values_are_large(client: EtcdClient) -> None:
    value = bytes(1 << 20)
    for number in range(30):
        await client.put(b"big/%02d" % number, value)
    keys = [pair.key async for page in client.pages(b"big/", range_end=b"big0") for pair in page]
    assert keys == [b"big/%02d" % number for number in range(30)]


@given(st.binary(max_size=8), st.binary(min_size=1, max_size=10))
def test_prefix_range(prefix: bytes, key: bytes) -> None:
    start, end = prefix_range(prefix)
    assert start
    assert (key >= start and (end == b"\0" or key < end)) == key.startswith(prefix)
