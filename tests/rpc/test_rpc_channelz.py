"""channelz: what it shows of channels, servers and connections, and that the counts add up."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, MemoryNetwork, One, serving
from grpc_channelz.v1 import channelz_pb2 as official
from grpc_channelz.v1 import channelz_pb2_grpc

from trioraft._proto.grpc import channelz_pb2 as pb
from trioraft._proto.grpc.channelz_grpc import ChannelzStub
from trioraft.rpc import (
    Cardinality,
    GRPCError,
    Handler,
    InPlaceCall,
    InPlaceHandler,
    Limits,
    Service,
    Status,
    open_channel,
    serve,
)
from trioraft.rpc.registry import ChannelEntry, Entry
from trioraft.rpc.services import ChannelzService, Registry
from trioraft.rpc.services.sockets import address_message


class World:
    """A server with a registry, one more with channelz about it, and a channel to each."""

    def __init__(self, registry: Registry, echo: EchoStub, stub: ChannelzStub) -> None:
        self.registry = registry
        self.echo = echo
        self.stub = stub

    async def server(self) -> pb.Server:
        [server] = (await self.stub.GetServers(pb.GetServersRequest())).server
        return server

    async def channel(self) -> pb.Channel:
        [channel] = (await self.stub.GetTopChannels(pb.GetTopChannelsRequest())).channel
        return channel

    async def server_socket(self) -> pb.Socket:
        request = pb.GetServerSocketsRequest(server_id=(await self.server()).ref.server_id)
        [ref] = (await self.stub.GetServerSockets(request)).socket_ref
        return await self.socket(ref.socket_id)

    async def channel_socket(self) -> pb.Socket:
        [ref] = (await self.channel()).socket_ref
        return await self.socket(ref.socket_id)

    async def socket(self, number: int) -> pb.Socket:
        return (await self.stub.GetSocket(pb.GetSocketRequest(socket_id=number))).socket


class Various(Echo):
    """Fails if it is asked to, or hangs."""

    async def Unary(self, stream: Any) -> None:
        request = await stream.recv_message()
        if request.count == 1:
            raise GRPCError(Status.ABORTED)
        if request.count == 2:
            await trio.sleep_forever()
        if request.count == 3:
            await stream.cancel()
            return
        if request.count == 4:
            await stream.send_trailing_metadata(status=Status.DATA_LOSS)
            return
        await stream.send_message(EchoReply())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    registry = Registry()
    asked, other = MemoryNetwork(), MemoryNetwork()
    async with trio.open_nursery() as nursery:
        services: list[Service] = [Various()]
        await nursery.start(partial(serve, services, listeners=[asked], registry=registry))
        await nursery.start(partial(serve, [ChannelzService(registry)], listeners=[other]))
        async with (
            open_channel("there", dial=asked.dial, registry=registry) as channel,
            open_channel("other", dial=other.dial) as tool,
        ):
            yield World(registry, EchoStub(channel), ChannelzStub(tool))
        assert registry.channels == {}
        nursery.cancel_scope.cancel()
    assert registry.servers == {}


def calls(data: pb.ServerData | pb.ChannelData) -> tuple[int, int, int]:
    return data.calls_started, data.calls_succeeded, data.calls_failed


def streams(socket: pb.Socket) -> tuple[int, int, int]:
    data = socket.data
    return data.streams_started, data.streams_succeeded, data.streams_failed


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


async def test_unknown_ids_and_bad_pages(world: World, autojump_clock: object) -> None:
    stub = world.stub
    for ask in (
        stub.GetServer(pb.GetServerRequest(server_id=99)),
        stub.GetServerSockets(pb.GetServerSocketsRequest(server_id=99)),
        stub.GetChannel(pb.GetChannelRequest(channel_id=99)),
        stub.GetSubchannel(pb.GetSubchannelRequest(subchannel_id=1)),
        stub.GetSocket(pb.GetSocketRequest(socket_id=99)),
    ):
        with pytest.raises(GRPCError) as caught:
            await ask
        assert caught.value.status is Status.NOT_FOUND
    for bad in (pb.GetServersRequest(max_results=-1), pb.GetServersRequest(start_server_id=-1)):
        with pytest.raises(GRPCError) as caught:
            await stub.GetServers(bad)
        assert caught.value.status is Status.INVALID_ARGUMENT


async def test_pages(world: World, autojump_clock: object) -> None:
    for number in range(250):
        world.registry.add_server(f"s{number}")

    async def page(start: int, size: int) -> pb.GetServersResponse:
        request = pb.GetServersRequest(start_server_id=start, max_results=size)
        return await world.stub.GetServers(request)

    first = await page(0, 0)
    assert (len(first.server), first.end) == (100, False)
    ids = [server.ref.server_id for server in first.server]
    while True:
        more = await page(ids[-1] + 1, 60)
        ids += [server.ref.server_id for server in more.server]
        if more.end:
            break
    assert len(ids) == 251
    assert ids == sorted(set(ids))
    assert ((await page(0, 10_000)).end, len((await page(0, 251)).server)) == (True, 251)
    for entry in list(world.registry.servers.values())[1:]:
        world.registry.remove_server(entry)


def test_addresses() -> None:
    assert address_message(("127.0.0.1", 80)).tcpip_address.ip_address == b"\x7f\0\0\1"
    link_local = address_message(("fe80::1%eth0", 80, 0, 2)).tcpip_address
    assert (len(link_local.ip_address), link_local.port) == (16, 80)
    assert address_message("/run/x").uds_address.filename == "/run/x"
    assert address_message(b"\0x").uds_address.filename == "@x"
    assert address_message(("name", 80)).other_address.name == "('name', 80)"
    assert address_message(7).other_address.name == "7"


async def test_grpcio_agrees() -> None:
    """Its stubs, over TCP, on the very server that they ask about."""
    registry = Registry()

    def talk(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            stub = channelz_pb2_grpc.ChannelzStub(channel)
            [server] = stub.GetServers(official.GetServersRequest(), timeout=10).server
            assert server.ref.name == address
            request = official.GetServerSocketsRequest(server_id=server.ref.server_id)
            [ref] = stub.GetServerSockets(request, timeout=10).socket_ref
            wanted = official.GetSocketRequest(socket_id=ref.socket_id)
            socket = stub.GetSocket(wanted, timeout=10).socket
            local = socket.local.tcpip_address
            assert ipaddress.ip_address(local.ip_address) == ipaddress.ip_address("127.0.0.1")
            assert address.endswith(f":{local.port}")
            assert socket.remote.tcpip_address.port not in (0, local.port)
            assert (socket.data.streams_started, socket.data.streams_succeeded) == (3, 2)
            assert not socket.HasField("security")

    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(
            partial(serve, [ChannelzService(registry)], port=0, registry=registry)
        )
        await trio.to_thread.run_sync(talk, f"127.0.0.1:{address[1]}")
        nursery.cancel_scope.cancel()


async def test_tls_is_shown(certificate: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(certificate))
    registry = Registry()
    services = [Echo(), ChannelzService(registry)]
    async with serving(services, ssl_context=server, registry=registry) as address:
        async with open_channel(address, ssl_context=client, registry=registry) as channel:
            await EchoStub(channel).Unary(EchoRequest())
            shown = {}
            for entry in (*registry.servers.values(), *registry.channels.values()):
                [number] = entry.connections
                request = pb.GetSocketRequest(socket_id=number)
                shown[type(entry)] = (await ChannelzStub(channel).GetSocket(request)).socket
    ours, theirs = shown[ChannelEntry].security.tls, shown[Entry].security.tls
    assert ours.other_name == theirs.other_name != ""
    pem = ssl.DER_cert_to_PEM_cert(ours.remote_certificate)
    assert pem in await trio.Path(certificate).read_text()
    assert theirs.remote_certificate == b""  # the client has shown none
