"""`open_node` as an application meets it: real sockets, real files, both dialects."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

import trioraft
from trioraft import Command, Node, Role, SnapshotSink, SnapshotSource, StateMachine
from trioraft._proto.local.node_grpc import NodeServiceStub
from trioraft._proto.local.node_pb2 import ProposeRequest, QueryRequest, StatusRequest
from trioraft.protocols.local import ERROR_TRAILER
from trioraft.raft.errors import InvariantError
from trioraft.rpc import Cardinality, Channel, Encoded, GRPCError, Limits, Status, open_channel
from trioraft.rpc.services import HealthService

FAST = trioraft.RaftConfig(
    election_timeout_min=0.5, election_timeout_max=1.0, heartbeat_interval=0.1
)


class Counter(StateMachine):
    def __init__(self) -> None:
        self.value = 0

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        replies = []
        for command in commands:
            self.value += int(command.data)
            replies.append(b"%d" % self.value)
        return replies

    async def query(self, request: bytes) -> bytes:
        return b"%d" % self.value

    async def snapshot(self, sink: SnapshotSink) -> None:
        await sink.write(b"%d" % self.value)

    async def restore(self, source: SnapshotSource) -> None:
        self.value = int(await source.read() or b"0")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@asynccontextmanager
async def three_nodes(tmp_path: Path, wire: str) -> AsyncIterator[list[Node]]:
    peers = {str(n): f"127.0.0.1:{p}" for n, p in enumerate(free_ports(3), 1)}
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                trioraft.open_node(
                    id=name,
                    peers=peers,
                    machine=Counter(),
                    data=tmp_path / name,
                    wire=wire,
                    config=FAST,
                )
            )
            for name in peers
        ]
        with trio.fail_after(20):
            for node in nodes:
                await node.wait_leader()
        yield nodes


@pytest.mark.parametrize("wire", ["ratis", "openraft"])
async def test_every_node_takes_writes_and_linearizable_reads(tmp_path: Path, wire: str) -> None:
    async with three_nodes(tmp_path, wire) as nodes:
        with trio.fail_after(20):
            for expected, node in enumerate(nodes * 2, 1):
                assert await node.propose(b"1") == b"%d" % expected
                for reader in nodes:
                    assert await reader.query(b"") == b"%d" % expected
        assert sum(node.role is Role.LEADER for node in nodes) == 1
        assert len({node.leader for node in nodes}) == 1


async def test_leadership_moves_on_request(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, "ratis") as nodes:
        with trio.fail_after(20):
            await nodes[0].propose(b"5")
            leader = next(n for n in nodes if n.role is Role.LEADER)
            target = next(n for n in nodes if n is not leader)
            assert await leader.transfer_leadership(target.id) == target.id
            await target.wait_role(Role.LEADER)
            assert await target.query(b"") == b"5"
            with pytest.raises(trioraft.NotLeaderError):
                await leader.transfer_leadership()


async def test_the_local_protocol_tells_status_and_errors(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, "ratis") as nodes:
        with trio.fail_after(20):
            follower = next(n for n in nodes if n.role is Role.FOLLOWER)
            async with open_channel(follower.address) as channel:
                stub = NodeServiceStub(channel)  # type: ignore[arg-type]
                reply = await stub.Propose(ProposeRequest(data=b"3"))
                assert reply.data == b"3"
                assert (await stub.Query(QueryRequest(data=b""))).data == b"3"
                status = await stub.Status(StatusRequest())
                assert status.node_id == follower.id
                assert status.wire == "ratis"
                (group,) = status.groups
                assert group.role == "follower"
                assert group.leader_id == follower.leader
                assert [m.node_id for m in group.members] == ["1", "2", "3"]
                # A node that was asked by another does not pass the write on again.
                stream = stub.Propose.open()
                with pytest.raises(GRPCError) as caught:
                    async with stream:
                        await stream.send_message(
                            ProposeRequest(data=b"1", forwarded=True), end=True
                        )
                        await stream.recv_message()
                assert caught.value.status is Status.FAILED_PRECONDITION
                trailers = stream.trailing_metadata
                assert trailers is not None
                assert trailers[ERROR_TRAILER] == "NotLeaderError"
                with pytest.raises(GRPCError) as unknown:
                    await stub.Query(QueryRequest(group_id=b"?" * 16))
                assert unknown.value.status is Status.NOT_FOUND


async def test_a_lone_node_remembers_after_a_restart(tmp_path: Path) -> None:
    peers = f"only=127.0.0.1:{free_ports(1)[0]}"
    for expected in (b"2", b"4"):
        async with trioraft.open_node(
            id="only", peers=peers, machine=Counter(), data=tmp_path / "d", config=FAST
        ) as node:
            with trio.fail_after(20):
                assert await node.propose(b"2") == expected
                await node.snapshot()


async def test_without_a_data_directory_it_runs_in_memory() -> None:
    peers = f"only=127.0.0.1:{free_ports(1)[0]}"
    async with trioraft.open_node(id="only", peers=peers, machine=Counter(), config=FAST) as node:
        with trio.fail_after(20):
            assert await node.propose(b"7") == b"7"


async def test_no_quorum_is_said_in_time() -> None:
    first, second, third = free_ports(3)
    async with trioraft.open_node(
        id="a",
        peers=f"a=127.0.0.1:{first},b=127.0.0.1:{second},c=127.0.0.1:{third}",
        machine=Counter(),
        config=trioraft.RaftConfig(
            election_timeout_min=0.02, election_timeout_max=0.05, heartbeat_interval=0.01
        ),
    ) as node:
        with trio.fail_after(20), pytest.raises(trioraft.NoQuorumError, match="a, b, c"):
            await node.propose(b"1")


async def test_mistakes_are_named() -> None:
    async def attempt(**changes: object) -> None:
        options = {"id": "a", "peers": "a=127.0.0.1:1", "machine": Counter(), **changes}
        async with trioraft.open_node(**options):  # type: ignore[arg-type]
            pass

    with pytest.raises(trioraft.ConfigurationError, match="'x' is not in peers"):
        await attempt(id="x")
    with pytest.raises(trioraft.ConfigurationError, match="not ID=HOST:PORT"):
        await attempt(peers="nonsense")
    with pytest.raises(trioraft.ConfigurationError, match="not an address"):
        await attempt(peers="a=nowhere")
    with pytest.raises(trioraft.ConfigurationError, match="ratis"):
        await attempt(wire="morse")
    with pytest.raises(trioraft.ConfigurationError, match="numbers"):
        await attempt(wire="openraft")


async def test_one_directory_belongs_to_one_node_of_one_cluster(tmp_path: Path) -> None:
    peers = f"a=127.0.0.1:{free_ports(1)[0]}"

    async def visit(**changes: object) -> None:
        options = {
            "id": "a", "peers": peers, "machine": Counter(), "data": tmp_path, **changes
        }  # fmt: skip
        async with trioraft.open_node(**options):  # type: ignore[arg-type]
            pass

    await visit()
    with pytest.raises(trioraft.DataDirectoryError, match="a"):
        await visit(cluster="another")
    with pytest.raises(trioraft.DataDirectoryError):
        await visit(id="b", peers=peers + ",b=127.0.0.1:1")


async def test_a_taken_port_is_an_oserror() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            async with trioraft.open_node(id="a", peers=f"a=127.0.0.1:{port}", machine=Counter()):
                pass


async def test_errors_of_the_body_leave_it_as_they_are() -> None:
    class OursError(Exception):
        pass

    async def fail_with(error: Exception) -> None:
        peers = f"a=127.0.0.1:{free_ports(1)[0]}"
        async with trioraft.open_node(id="a", peers=peers, machine=Counter()):
            raise error

    with pytest.raises(OursError):
        await fail_with(OursError())
    group = ExceptionGroup("ours", [OursError()])
    with pytest.raises(ExceptionGroup) as caught:
        await fail_with(group)
    assert caught.value is group


async def test_a_group_that_cannot_be_built_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its storage is closed again, so that the reason is not buried under a second error."""

    def refuse(**_: object) -> None:
        raise InvariantError("the log holds term 1, but the stored term is 0")

    monkeypatch.setattr("trioraft.host.groups.Group", refuse)
    peers = f"a=127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(InvariantError, match="holds term 1"):
        async with trioraft.open_node(id="a", peers=peers, machine=Counter(), data=tmp_path):
            pass
    monkeypatch.undo()
    async with trioraft.open_node(id="a", peers=peers, machine=Counter(), data=tmp_path):
        pass


async def test_a_session_that_the_wire_cannot_carry_is_refused_before_the_log() -> None:
    peers = f"only=127.0.0.1:{free_ports(1)[0]}"
    async with trioraft.open_node(id="only", peers=peers, machine=Counter(), config=FAST) as node:
        with trio.fail_after(20):
            with pytest.raises(trioraft.ConfigurationError, match="16 bytes"):
                await node.propose(b"1", session=trioraft.Session(b"abc", 1))
            assert await node.propose(b"1", session=trioraft.Session(b"c" * 16, 1)) == b"1"


async def test_only_peers_may_send_large_messages() -> None:
    """The one address is open to everybody; the dialect's limit is for the dialect."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    async with (
        trioraft.open_node(
            id="n1",
            peers={"n1": address},
            machine=Counter(),
            config=FAST,
            health=HealthService(),
            reflection=True,
        ) as node,
        open_channel(address, limits=Limits(max_send_message=16 << 20)) as channel,
    ):
        await node.wait_role(Role.LEADER)

        async def status_of(path: str, size: int) -> Status:
            with pytest.raises(GRPCError) as caught:
                await _unary(channel, path, Encoded(b"\xff" * size))
            return caught.value.status

        exhausted, large, small = Status.RESOURCE_EXHAUSTED, 6 << 20, 65 << 10
        assert await status_of("/trioraft.local.NodeService/Propose", large) is exhausted
        vote = "/ratis.grpc.RaftServerProtocolService/requestVote"
        assert await status_of(vote, large) is not exhausted
        for path in (
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ):
            assert await status_of(path, small) is exhausted
            assert await status_of(path, 100) is not exhausted


async def _unary(channel: Channel, path: str, message: Encoded) -> None:
    async with channel.request(path, Cardinality.UNARY_UNARY, Encoded, Encoded) as stream:
        await stream.send_message(message)
        await stream.recv_message()
