"""What `open_node` refuses, and how: mistakes, taken ports and directories, errors on the way."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio
from counter_nodes import FAST, Counter, free_ports

import trioraft
from trioraft import Role
from trioraft.raft.errors import InvariantError
from trioraft.rpc import Cardinality, Channel, Encoded, GRPCError, Limits, Status, open_channel
from trioraft.rpc.services import HealthService


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
    with pytest.raises(TypeError, match=r"open_node\(\) got an unexpected .* 'reflexion'"):
        await attempt(reflexion=True)
    with pytest.raises(TypeError, match=r"open_server\(\) got an unexpected .* 'peers'"):
        async with trioraft.open_server(id="a", listen="127.0.0.1:1", peers="a=x:1"):  # type: ignore[call-arg]
            pass


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
