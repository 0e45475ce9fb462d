"""`open_node` as an application meets it: real sockets, real files, both dialects."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from counter_nodes import FAST, Counter, free_ports, three_nodes

import trioraft
from trioraft import Role
from trioraft._proto.local.node_grpc import NodeServiceStub
from trioraft._proto.local.node_pb2 import ProposeRequest, QueryRequest, StatusRequest
from trioraft.protocols.local import ERROR_TRAILER
from trioraft.rpc import GRPCError, Status, open_channel


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


@pytest.mark.parametrize("wire", ["ratis", "openraft"])
async def test_who_refuses_to_lead_is_believed_on_every_wire(tmp_path: Path, wire: str) -> None:
    async with three_nodes(tmp_path, wire) as nodes:
        with trio.fail_after(20):
            await nodes[0].propose(b"5")
            leader = next(n for n in nodes if n.role is Role.LEADER)
            target = next(n for n in nodes if n is not leader)
            await target.pause_elections()
            with pytest.raises(trioraft.NoQuorumError, match=f"{target.id} refuses to take over"):
                await leader.transfer_leadership(target.id)
            await leader.propose(b"6")


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
