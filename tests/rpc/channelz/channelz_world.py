"""What is asked about, and who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoReply
from echo_service import Echo, MemoryNetwork

from trioraft._proto.grpc import channelz_pb2 as pb
from trioraft._proto.grpc.channelz_grpc import ChannelzStub
from trioraft.rpc import GRPCError, Status, open_channel, serve
from trioraft.rpc.services import ChannelzService, Registry


class World:
    """A register, asked over channelz."""

    #: On a channel in the register, if the test has one.
    echo: EchoStub

    def __init__(self, registry: Registry, stub: ChannelzStub) -> None:
        self.registry = registry
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

    async def subchannels(self) -> list[pb.Subchannel]:
        return [
            await self.subchannel(ref.subchannel_id)
            for ref in (await self.channel()).subchannel_ref
        ]

    async def subchannel(self, number: int) -> pb.Subchannel:
        request = pb.GetSubchannelRequest(subchannel_id=number)
        return (await self.stub.GetSubchannel(request)).subchannel

    async def channel_socket(self) -> pb.Socket:
        [subchannel] = await self.subchannels()
        [ref] = subchannel.socket_ref
        return await self.socket(ref.socket_id)

    async def socket(self, number: int) -> pb.Socket:
        return (await self.stub.GetSocket(pb.GetSocketRequest(socket_id=number))).socket


@asynccontextmanager
async def asking(registry: Registry) -> AsyncIterator[World]:
    """A server for channelz alone, and a channel to it; neither is in the register."""
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, [ChannelzService(registry)], listeners=[network]))
        async with open_channel("tool", dial=network.dial) as tool:
            yield World(registry, ChannelzStub(tool))
        nursery.cancel_scope.cancel()


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


def calls(data: pb.ServerData | pb.ChannelData) -> tuple[int, int, int]:
    """Started, succeeded, failed."""
    return data.calls_started, data.calls_succeeded, data.calls_failed


def streams(socket: pb.Socket) -> tuple[int, int, int]:
    """Started, succeeded, failed."""
    data = socket.data
    return data.streams_started, data.streams_succeeded, data.streams_failed


def told(trace: pb.ChannelTrace) -> list[str]:
    """What the events of a trace say."""
    return [event.description for event in trace.events]
