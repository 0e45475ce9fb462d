"""channelz: what a process has open, and how much has gone through it, asked over gRPC.

Source: gRPC proposal A14 (channelz), grpc.channelz.v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from trioraft._proto.grpc import channelz_pb2 as pb
from trioraft._proto.grpc.channelz_grpc import ChannelzBase
from trioraft.rpc.registry import ChannelEntry, Entry, Registry
from trioraft.rpc.status import GRPCError, Status

from .sockets import socket_message

if TYPE_CHECKING:
    from grpclib.server import Stream

__all__ = ["ChannelzService"]

T = TypeVar("T")

#: Entries of a list that nobody has asked to be longer, and the most that may be asked for.
PAGE = 100
MAX_PAGE = 1000


class ChannelzService(ChannelzBase):
    """Shows the channels and servers that were opened with `registry`.

        registry = Registry()
        await serve([Greeter(), ChannelzService(registry)], registry=registry)

    Its callers see addresses and certificates of all peers: serve it where operators are alone.

    Channels have their sockets directly, without subchannels. Timestamps, traces and socket
    options are not kept: they would be paid for by every call. Lists have 100 entries unless the
    caller says otherwise, at most 1,000.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def GetTopChannels(
        self, stream: Stream[pb.GetTopChannelsRequest, pb.GetTopChannelsResponse]
    ) -> None:
        """Channels in the order of their ids."""
        request = await _request(stream)
        page, end = _page(self._registry.channels, request.start_channel_id, request.max_results)
        await stream.send_message(
            pb.GetTopChannelsResponse(channel=map(_channel, page.values()), end=end)
        )

    async def GetServers(self, stream: Stream[pb.GetServersRequest, pb.GetServersResponse]) -> None:
        """Servers in the order of their ids."""
        request = await _request(stream)
        page, end = _page(self._registry.servers, request.start_server_id, request.max_results)
        await stream.send_message(
            pb.GetServersResponse(server=map(_server, page.values()), end=end)
        )

    async def GetServer(self, stream: Stream[pb.GetServerRequest, pb.GetServerResponse]) -> None:
        """One server, or NOT_FOUND."""
        entry = self._server((await _request(stream)).server_id)
        await stream.send_message(pb.GetServerResponse(server=_server(entry)))

    async def GetServerSockets(
        self, stream: Stream[pb.GetServerSocketsRequest, pb.GetServerSocketsResponse]
    ) -> None:
        """The connections of a server in the order of their ids, or NOT_FOUND."""
        request = await _request(stream)
        connections = self._server(request.server_id).connections
        page, end = _page(connections, request.start_socket_id, request.max_results)
        refs = [pb.SocketRef(socket_id=number) for number in page]
        await stream.send_message(pb.GetServerSocketsResponse(socket_ref=refs, end=end))

    async def GetChannel(self, stream: Stream[pb.GetChannelRequest, pb.GetChannelResponse]) -> None:
        """One channel, or NOT_FOUND."""
        number = (await _request(stream)).channel_id
        entry = self._registry.channels.get(number)
        if entry is None:
            raise _unknown("channel", number)
        await stream.send_message(pb.GetChannelResponse(channel=_channel(entry)))

    async def GetSubchannel(
        self, stream: Stream[pb.GetSubchannelRequest, pb.GetSubchannelResponse]
    ) -> None:
        """NOT_FOUND: channels here have none."""
        raise _unknown("subchannel", (await _request(stream)).subchannel_id)

    async def GetSocket(self, stream: Stream[pb.GetSocketRequest, pb.GetSocketResponse]) -> None:
        """One connection of a channel or a server, or NOT_FOUND."""
        number = (await _request(stream)).socket_id
        connection = self._registry.connection(number)
        if connection is None:
            raise _unknown("socket", number)
        await stream.send_message(pb.GetSocketResponse(socket=socket_message(number, connection)))

    def _server(self, number: int) -> Entry:
        entry = self._registry.servers.get(number)
        if entry is None:
            raise _unknown("server", number)
        return entry


async def _request(stream: Stream[T, Any]) -> T:
    request = await stream.recv_message()
    assert request is not None  # a unary call without a request never gets here
    return request


def _unknown(kind: str, number: int) -> GRPCError:
    return GRPCError(Status.NOT_FOUND, f"no {kind} has the id {number}")


def _page(entries: Mapping[int, T], start: int, wanted: int) -> tuple[dict[int, T], bool]:
    """The entries from id `start` on that fit one answer, and whether they are the last.

    Ids are given in rising order, so the mapping's order is theirs. Raises INVALID_ARGUMENT for a
    negative number.
    """
    if start < 0 or wanted < 0:
        raise GRPCError(Status.INVALID_ARGUMENT, "start ids and max_results are not negative")
    size = min(wanted or PAGE, MAX_PAGE)
    found = dict(islice(((k, v) for k, v in entries.items() if k >= start), size + 1))
    end = len(found) <= size
    if not end:
        found.popitem()
    return found, end


def _server(entry: Entry) -> pb.Server:
    totals = entry.totals()
    return pb.Server(
        ref=pb.ServerRef(server_id=entry.id, name=entry.name),
        data=pb.ServerData(
            calls_started=totals.started,
            calls_succeeded=totals.succeeded,
            calls_failed=totals.failed,
        ),
    )


def _channel(entry: ChannelEntry) -> pb.Channel:
    totals = entry.totals()
    return pb.Channel(
        ref=pb.ChannelRef(channel_id=entry.id, name=entry.name),
        data=pb.ChannelData(
            state=pb.ChannelConnectivityState(state=entry.state),
            target=entry.name,
            calls_started=totals.started,
            calls_succeeded=totals.succeeded,
            calls_failed=totals.failed,
        ),
        socket_ref=[pb.SocketRef(socket_id=number) for number in entry.connections],
    )
