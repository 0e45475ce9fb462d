"""Sessions of the application's client: retries are the same call, and the window is bounded."""

from __future__ import annotations

import pytest
import trio
from fake_nodes import Cluster

from trioraft.client import Client, RetryPolicy, open_client
from trioraft.raft.errors import (
    ConfigurationError,
    NoQuorumError,
    NotLeaderError,
    OverloadedError,
    ProposalDroppedError,
    SessionExpiredError,
)
from trioraft.raft.session_ids import birth_of, call_id_of
from trioraft.raft.types import Session
from trioraft.rpc import GRPCError, Status


@pytest.mark.parametrize(
    "error",
    [
        NotLeaderError(None),
        NoQuorumError("no"),
        ProposalDroppedError("lost"),
        OverloadedError("full"),
        GRPCError(Status.UNAVAILABLE, "closing"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_retry_is_the_same_call(cluster: Cluster, client: Client, error: Exception) -> None:
    cluster.nodes[0].errors = [error]
    assert await client.propose(b"x") == b"b:x"
    first, second = cluster.nodes[0].proposals[0], cluster.nodes[1].proposals[0]
    assert (first.client_id, first.call_id) == (client.client_id, call_id_of(1, 1))
    assert (second.client_id, second.call_id) == (client.client_id, call_id_of(1, 1))
    assert birth_of(first.client_id) == 8
    await client.propose(b"y")
    assert cluster.nodes[1].proposals[1].call_id == call_id_of(2, 2)


async def test_a_session_of_ones_own(cluster: Cluster, client: Client) -> None:
    await client.propose(b"x", session=Session(b"me", 77))
    request = cluster.nodes[0].proposals[0]
    assert (request.client_id, request.call_id) == (b"me", 77)


async def test_an_expired_session_is_replaced_if_nothing_was_sent_before(
    cluster: Cluster, client: Client
) -> None:
    await client.propose(b"x")
    old = client.client_id
    cluster.nodes[0].errors = [SessionExpiredError("idle for long")]
    assert await client.propose(b"y") == b"a:y"
    assert client.client_id != old
    assert cluster.nodes[0].proposals[-1].call_id == call_id_of(1, 1)


async def test_an_expired_session_is_an_error_if_an_answer_was_lost(
    cluster: Cluster, client: Client
) -> None:
    cluster.nodes[0].errors = [ProposalDroppedError("lost")]
    cluster.nodes[1].errors = [SessionExpiredError("evicted")]
    with pytest.raises(SessionExpiredError, match="evicted"):
        await client.propose(b"x")
    assert [len(node.proposals) for node in cluster.nodes] == [1, 1, 0]
    old = cluster.nodes[1].proposals[0].client_id
    assert await client.propose(b"y") == b"b:y"
    assert cluster.nodes[1].proposals[1].client_id != old


async def test_a_group_that_refuses_every_session_is_given_up(
    cluster: Cluster, client: Client
) -> None:
    cluster.nodes[0].errors = [SessionExpiredError("no") for _ in range(9)]
    with pytest.raises(SessionExpiredError):
        await client.propose(b"x")
    assert len(cluster.nodes[0].proposals) == 4


async def test_the_window_bounds_what_is_under_way(cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.silent = True
    policy = RetryPolicy(timeout=5, attempt_timeout=5, follow_interval=0)
    async with open_client(cluster.targets, policy=policy, window=2) as client:
        node = cluster.nodes[0]
        node.silent = False
        await client.propose(b"first")
        node.silent = True

        async with trio.open_nursery() as nursery:
            for count, data in ((2, b"x"), (3, b"y")):
                nursery.start_soon(client.propose, data)
                with trio.fail_after(5):
                    while len(node.proposals) < count:
                        await trio.sleep(0.01)
            with pytest.raises(OverloadedError, match="2 calls under way"):
                await client.propose(b"z", timeout=0.1)
            nursery.cancel_scope.cancel()
        sent = {request.data: request.call_id for request in node.proposals}
        assert sent == {b"first": call_id_of(1, 1), b"x": call_id_of(2, 2), b"y": call_id_of(3, 2)}
    with pytest.raises(ConfigurationError, match="window=0"):
        async with open_client(cluster.targets, window=0):
            pass
