"""The application's client against nodes that misbehave on request."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio

from trioraft._proto.local.node_grpc import NodeServiceBase
from trioraft._proto.local.node_pb2 import (
    GroupStatus,
    OpenSessionReply,
    ProposeReply,
    ProposeRequest,
    QueryReply,
    StatusReply,
    WatchReply,
    WatchRequest,
)
from trioraft.client import Client, RetryPolicy, open_client
from trioraft.protocols.local import WriteResult, status_of
from trioraft.raft.errors import (
    ConfigurationError,
    EntryTooLargeError,
    NoQuorumError,
    NotLeaderError,
    NotReplicatedError,
    OverloadedError,
    ProposalDroppedError,
    SessionExpiredError,
    TrioraftError,
)
from trioraft.raft.session_ids import birth_of, call_id_of
from trioraft.raft.types import ReplicationLevel, Session
from trioraft.rpc import GRPCError, Status, serve

Answer = Callable[[ProposeRequest], Awaitable[bytes]]

FAST = RetryPolicy(timeout=2.0, attempt_timeout=0.3, pause_min=0.01, pause_max=0.05)


class FakeNode(NodeServiceBase):
    """A node that answers what it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.role = "follower"
        self.term = 1
        self.proposals: list[ProposeRequest] = []
        self.queries: list[bytes] = []
        self.errors: list[Exception] = []  # for the next proposals, in order
        self.silent = False
        self.sessions = 0
        self.watches: list[WatchRequest] = []
        self.leads_other_group = False

    async def Propose(self, stream) -> None:  # type: ignore[no-untyped-def, override]
        request = await stream.recv_message()
        self.proposals.append(request)
        if self.silent:
            await trio.sleep_forever()
        if self.errors:
            error = self.errors.pop(0)
            if isinstance(error, TrioraftError):
                status, trailers = status_of(error)
                await stream.send_trailing_metadata(
                    status=status, status_message=str(error), metadata=trailers
                )
                return
            raise error
        await stream.send_message(
            ProposeReply(
                data=f"{self.name}:".encode() + request.data, index=len(self.proposals) + 40
            )
        )

    async def Query(self, stream) -> None:  # type: ignore[no-untyped-def, override]
        request = await stream.recv_message()
        self.queries.append(request.data)
        stale = b"stale %d:" % (request.min_entries - 1) if request.stale else b""
        await stream.send_message(QueryReply(data=stale + request.data))

    async def OpenSession(self, stream) -> None:  # type: ignore[no-untyped-def, override]
        await stream.recv_message()
        self.sessions += 1
        await stream.send_message(OpenSessionReply(birth=7 + self.sessions))

    async def Watch(self, stream) -> None:  # type: ignore[no-untyped-def, override]
        request = await stream.recv_message()
        self.watches.append(request)
        if request.index > 10:
            await trio.sleep_forever()
        await stream.send_message(WatchReply(index=10))

    async def ReadIndex(self, stream) -> None:  # type: ignore[no-untyped-def, override]
        raise GRPCError(Status.UNIMPLEMENTED)

    async def Status(self, stream) -> None:  # type: ignore[no-untyped-def, override]
        await stream.recv_message()
        if self.silent:
            await trio.sleep_forever()
        groups = [GroupStatus(group_id=b"m" * 16, role=self.role, term=str(self.term))]
        if self.leads_other_group:
            groups.append(GroupStatus(group_id=b"o" * 16, role="leader", term="99"))
        await stream.send_message(StatusReply(node_id=self.name, groups=groups))


class Cluster:
    """Three fake nodes on loopback that can be taken away and brought back."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nodes = [FakeNode(name) for name in "abc"]
        self.targets: list[str] = []
        self._nursery = nursery
        self._scopes: list[trio.CancelScope] = []

    async def start(self) -> None:
        for node in self.nodes:
            scope = trio.CancelScope()
            self._scopes.append(scope)
            bound = await self._nursery.start(self._serve, node, scope)
            self.targets.append(f"127.0.0.1:{bound[0][1]}")

    async def _serve(
        self, node: FakeNode, scope: trio.CancelScope, *, task_status: trio.TaskStatus[object]
    ) -> None:
        with scope:
            await serve([node], port=0, task_status=task_status)

    def take_away(self, position: int) -> None:
        self._scopes[position].cancel()


@pytest.fixture
async def cluster(nursery: trio.Nursery) -> Cluster:
    made = Cluster(nursery)
    await made.start()
    return made


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with open_client(cluster.targets, policy=FAST, rng=random.Random(1)) as opened:
        yield opened


async def test_propose_and_query(cluster: Cluster, client: Client) -> None:
    assert await client.propose(b"x") == b"a:x"
    assert await client.query(b"q") == b"q"
    assert await client.query(b"q", linearizable=False) == b"stale 41:q", "after its own write"
    assert await client.query(b"q", linearizable=False, min_index=-1) == b"stale -1:q"
    assert await client.query(b"q", linearizable=False, min_index=99) == b"stale 99:q"
    assert await client.write(b"y") == WriteResult(b"a:y", 42)


async def test_it_goes_to_the_leader(cluster: Cluster, client: Client) -> None:
    cluster.nodes[2].role = "leader"
    assert await client.propose(b"x") == b"c:x"


async def test_of_two_leaders_the_newer_one_counts(cluster: Cluster, client: Client) -> None:
    cluster.nodes[0].role, cluster.nodes[0].term = "leader", 9
    cluster.nodes[1].role, cluster.nodes[1].term = "leader", 10
    assert await client.propose(b"x") == b"b:x"


async def test_only_the_groups_own_leader_counts(cluster: Cluster) -> None:
    cluster.nodes[1].leads_other_group = True
    cluster.nodes[2].role = "leader"
    for group_id, leader in ((b"m" * 16, b"c:x"), (b"o" * 16, b"b:x")):
        async with open_client(cluster.targets, group_id=group_id, policy=FAST) as client:
            assert await client.propose(b"x") == leader


async def test_a_lost_node_is_replaced_by_the_next(cluster: Cluster, client: Client) -> None:
    assert await client.propose(b"1") == b"a:1"
    cluster.take_away(0)
    assert await client.propose(b"2") == b"b:2"
    cluster.take_away(1)
    assert await client.propose(b"3") == b"c:3"


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


async def test_a_watch_asks_on_until_its_time_is_over(cluster: Cluster, client: Client) -> None:
    assert await client.watch(10, ReplicationLevel.ALL) == 10
    with pytest.raises(NotReplicatedError, match="entry 11 has not reached ALL_COMMITTED"):
        await client.watch(11, timeout=0.7)
    assert len(cluster.nodes[0].watches) > 2, "a node that waits with us is not given up"
    assert not cluster.nodes[1].watches


async def test_what_no_retry_changes_is_raised_at_once(cluster: Cluster, client: Client) -> None:
    cluster.nodes[0].errors = [EntryTooLargeError("5 MB"), GRPCError(Status.UNKNOWN, "a bug")]
    with pytest.raises(EntryTooLargeError, match="5 MB"):
        await client.propose(b"x")
    with pytest.raises(TrioraftError, match="UNKNOWN: a bug"):
        await client.propose(b"x")
    assert not cluster.nodes[1].proposals


async def test_a_silent_node_costs_one_attempt(cluster: Cluster, client: Client) -> None:
    cluster.nodes[0].silent = True
    with trio.fail_after(1.5):
        assert await client.propose(b"x") == b"b:x"


async def test_nobody_answers(cluster: Cluster, client: Client) -> None:
    for position in range(3):
        cluster.take_away(position)
    await trio.sleep(0.01)
    with pytest.raises(NoQuorumError, match=r"within 0\.3 s .*cannot connect.*majority"):
        await client.propose(b"x", timeout=0.3)


async def test_everybody_is_busy(cluster: Cluster, client: Client) -> None:
    for node in cluster.nodes:
        node.errors = [OverloadedError("queue full")] * 1000
    with pytest.raises(NoQuorumError, match="queue full"):
        await client.propose(b"x", timeout=0.3)
    # It backed off: three nodes, pauses of 10 ms and more.
    assert sum(len(node.proposals) for node in cluster.nodes) < 100


async def test_cancelling_ends_the_call(cluster: Cluster, client: Client) -> None:
    cluster.nodes[0].silent = True
    with trio.move_on_after(0.05) as scope:
        await client.propose(b"x")
    assert scope.cancelled_caught


async def test_many_tasks_share_a_client_through_a_loss(cluster: Cluster, client: Client) -> None:
    replies: list[bytes] = []

    async def write(number: int) -> None:
        if number == 50:
            cluster.take_away(0)
        replies.append(await client.propose(b"%d" % number))

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(write, number)
    assert sorted(int(reply.split(b":")[1]) for reply in replies) == list(range(100))


async def test_without_repeat_there_is_one_attempt(cluster: Cluster, client: Client) -> None:
    cluster.nodes[0].errors = [ProposalDroppedError("lost")]
    with pytest.raises(ProposalDroppedError, match="lost"):
        await client.propose(b"x", repeat=False)
    assert sum(len(node.proposals) for node in cluster.nodes) == 1


async def test_the_group_id_is_checked_and_sent(cluster: Cluster) -> None:
    with pytest.raises(ConfigurationError, match="group_id: 3 bytes"):
        async with open_client(cluster.targets, group_id=b"abc"):
            pass
    async with open_client(cluster.targets, group_id=b"g" * 16, policy=FAST) as client:
        await client.propose(b"x")
    assert cluster.nodes[0].proposals[0].group_id == b"g" * 16


async def test_a_dialer_can_be_handed_in(cluster: Cluster) -> None:
    asked: list[str] = []

    async def dial(target: str) -> trio.abc.Stream:
        asked.append(target)
        host, port = target.split(":")
        return await trio.open_tcp_stream(host, int(port))

    async with open_client(cluster.targets, policy=FAST, dial=dial) as client:
        await client.propose(b"x")
    assert asked
    assert set(asked) <= set(cluster.targets)


async def test_the_same_seed_makes_the_same_client_id(cluster: Cluster) -> None:
    async def client_id(seed: int) -> bytes | None:
        for node in cluster.nodes:
            node.sessions = 0
        async with open_client(cluster.targets, rng=random.Random(seed)) as client:
            await client.propose(b"x")
            return client.client_id

    assert await client_id(1) == await client_id(1)
    assert await client_id(1) != await client_id(2)
