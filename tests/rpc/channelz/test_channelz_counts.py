"""channelz: calls and messages, and that the counts add up."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from channelz_world import Various, World, calls, streams
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import MemoryNetwork, One

from trioraft._proto.grpc import channelz_pb2 as pb
from trioraft._proto.grpc.channelz_grpc import ChannelzStub
from trioraft.rpc import (
    Cardinality,
    GRPCError,
    Handler,
    InPlaceCall,
    InPlaceHandler,
    Limits,
    Status,
    open_channel,
    serve,
)
from trioraft.rpc.services import ChannelzService, Registry


async def test_an_idle_channel(world: World, autojump_clock: object) -> None:
    channel = await world.channel()
    assert (channel.data.target, channel.ref.name) == ("there", "there")
    assert channel.data.state.state == pb.ChannelConnectivityState.IDLE
    assert calls(channel.data) == (0, 0, 0)
    assert list(channel.socket_ref) == []


async def test_calls_and_messages_are_counted_at_both_ends(
    world: World, autojump_clock: object
) -> None:
    for _ in range(3):
        await world.echo.Unary(EchoRequest())
    await world.echo.Expand(EchoRequest(count=5))
    await world.echo.Collect([EchoRequest()] * 4)
    await trio.sleep(1)
    assert calls((await world.server()).data) == (5, 5, 0)
    channel = await world.channel()
    assert calls(channel.data) == (5, 5, 0)
    assert channel.data.state.state == pb.ChannelConnectivityState.READY
    ours, theirs = await world.channel_socket(), await world.server_socket()
    assert streams(ours) == streams(theirs) == (5, 5, 0)
    assert (ours.data.messages_sent, ours.data.messages_received) == (8, 9)
    assert (theirs.data.messages_sent, theirs.data.messages_received) == (9, 8)
    assert ours.data.peer_max_concurrent_streams == 1000
    assert ours.data.local_flow_control_window.value > 0
    assert theirs.data.remote_flow_control_window.value > 0
    assert not ours.data.HasField("received_goaway_error")


@pytest.mark.parametrize(
    ("count", "streams_failed"),
    [(1, 0), (3, 1), (4, 0)],
    ids=["status", "reset by the server", "status by hand"],
)
async def test_calls_that_fail(
    world: World, count: int, streams_failed: int, autojump_clock: object
) -> None:
    with pytest.raises(GRPCError):
        await world.echo.Unary(EchoRequest(count=count))
    await world.echo.Unary(EchoRequest())
    await trio.sleep(1)
    assert calls((await world.server()).data) == (2, 1, 1)
    assert calls((await world.channel()).data) == (2, 1, 1)
    for socket in (await world.channel_socket(), await world.server_socket()):
        assert streams(socket) == (2, 2 - streams_failed, streams_failed)


async def test_a_call_that_is_cancelled_has_failed_at_both_ends(
    world: World, autojump_clock: object
) -> None:
    async with trio.open_nursery() as nursery:  # a scope with a deadline would send that along
        nursery.start_soon(world.echo.Unary, EchoRequest(count=2))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    await trio.sleep(1)
    assert calls((await world.server()).data) == (1, 0, 1)
    assert calls((await world.channel()).data) == (1, 0, 1)
    assert streams(await world.server_socket()) == (1, 0, 1)
    assert streams(await world.channel_socket()) == (1, 0, 1)


async def test_a_deadline_and_an_unknown_method_fail(world: World, autojump_clock: object) -> None:
    with pytest.raises(GRPCError):
        await world.echo.Unary(EchoRequest(count=2), timeout=1)
    channel = world.echo.Unary.channel
    with pytest.raises(GRPCError, match="unknown method"):
        async with channel.request(
            "/x/Y", Cardinality.UNARY_UNARY, EchoRequest, EchoReply
        ) as stream:
            await stream.send_message(EchoRequest())
            await stream.recv_message()
    await trio.sleep(1)
    assert calls((await world.server()).data) == (2, 0, 2)
    assert calls((await world.channel()).data) == (2, 0, 2)


async def test_running_calls_are_neither(world: World, autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.echo.Unary, EchoRequest(count=2))
        await trio.sleep(1)
        assert calls((await world.server()).data) == (1, 0, 0)
        assert streams(await world.channel_socket()) == (1, 0, 0)
        nursery.cancel_scope.cancel()


async def test_what_a_lost_connection_had_is_kept(autojump_clock: object) -> None:
    registry, network = Registry(), MemoryNetwork()
    tool = ChannelzService(registry)
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(serve, [Various(), tool], listeners=[network], registry=registry)
        )
        async with open_channel("there", dial=network.dial, registry=registry) as channel:
            stub = EchoStub(channel)
            await stub.Unary(EchoRequest())

            async def lose() -> None:
                with pytest.raises(GRPCError, match="broke"):
                    await stub.Unary(EchoRequest(count=2))

            async with trio.open_nursery() as calling:
                calling.start_soon(lose)
                await trio.sleep(1)
                await network.client_ends[0].aclose()
            await trio.sleep(1)
            answer = (await ChannelzStub(channel).GetServers(pb.GetServersRequest())).server[0]
            assert calls(answer.data) == (3, 1, 1)  # the third is this one
            [entry] = registry.channels.values()
            await trio.sleep(1)
            assert (entry.totals().started, entry.totals().failed) == (3, 1)
            assert entry.totals().succeeded == 2
        nursery.cancel_scope.cancel()


async def test_calls_in_place_are_counted() -> None:
    """Those that a server answers without a task."""

    async def handler(stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(EchoReply())

    def in_place(call: InPlaceCall[Any, Any], request: EchoRequest) -> bool:
        if request.count == 1:
            call.fail(GRPCError(Status.ABORTED))
        elif request.count == 2:
            return False
        else:
            call.respond(EchoReply())
        return True

    class InPlace(One):
        def __mapping__(self) -> dict[str, Handler]:
            kind = InPlaceHandler(handler, EchoRequest, EchoReply, in_place)
            return dict.fromkeys(super().__mapping__(), kind)

    registry = Registry()
    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(
            partial(serve, [InPlace(handler)], port=0, registry=registry)
        )
        async with open_channel(f"127.0.0.1:{address[1]}") as channel:
            for count in (0, 1, 2):
                if count == 1:
                    with pytest.raises(GRPCError):
                        await EchoStub(channel).Unary(EchoRequest(count=count))
                else:
                    await EchoStub(channel).Unary(EchoRequest(count=count))
            [entry] = registry.servers.values()
            [connection] = entry.connections.values()
            assert (entry.totals().started, entry.totals().failed) == (3, 1)
            assert entry.totals().succeeded == 2
            assert (connection.messages_sent, connection.messages_received) == (2, 3)
        nursery.cancel_scope.cancel()


async def test_a_channel_without_a_server(autojump_clock: object) -> None:
    async def dial() -> trio.abc.Stream:
        raise OSError("nobody there")

    registry = Registry()
    async with open_channel("x", dial=dial, registry=registry, limits=Limits()) as channel:
        for _ in range(2):
            with pytest.raises(GRPCError):
                await EchoStub(channel).Unary(EchoRequest())
        [entry] = registry.channels.values()
        assert entry.state == "TRANSIENT_FAILURE"
        assert (entry.totals().started, entry.totals().failed) == (2, 2)
        await trio.sleep(60)
        assert entry.state == "TRANSIENT_FAILURE"  # it goes on trying
        await trio.sleep(3600)
        assert entry.state == "IDLE"
