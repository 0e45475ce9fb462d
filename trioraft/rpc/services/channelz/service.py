"""The service: what is asked for by id or in pages."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from trioraft._proto.grpc import channelz_pb2 as pb
from trioraft._proto.grpc.channelz_grpc import ChannelzBase
from trioraft.rpc.registry import ListenSocket, Registry
from trioraft.rpc.status import GRPCError, Status

from .messages import Messages
from .sockets import listener_message, socket_message

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

    A channel has a subchannel for each address that it uses, which has a socket for each of its
    connections. A server has a socket for each listener, and one for each connection. Channels,
    subchannels and servers have their latest 20 events.

    Its callers see addresses and certificates of all peers: serve it where operators are alone.
    Lists have 100 entries unless the caller says otherwise, at most 1,000.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._messages = Messages(registry)

    async def GetTopChannels(
        self, stream: Stream[pb.GetTopChannelsRequest, pb.GetTopChannelsResponse]
    ) -> None:
        """Channels in the order of their ids."""
        request = await _request(stream)
        page, end = _page(self._registry.channels, request.start_channel_id, request.max_results)
        shown = map(self._messages.channel, page.values())
        await stream.send_message(pb.GetTopChannelsResponse(channel=shown, end=end))

    async def GetServers(self, stream: Stream[pb.GetServersRequest, pb.GetServersResponse]) -> None:
        """Servers in the order of their ids."""
        request = await _request(stream)
        page, end = _page(self._registry.servers, request.start_server_id, request.max_results)
        shown = map(self._messages.server, page.values())
        await stream.send_message(pb.GetServersResponse(server=shown, end=end))

    async def GetServer(self, stream: Stream[pb.GetServerRequest, pb.GetServerResponse]) -> None:
        """One server, or NOT_FOUND."""
        entry = _find("server", self._registry.servers, (await _request(stream)).server_id)
        await stream.send_message(pb.GetServerResponse(server=self._messages.server(entry)))

    async def GetServerSockets(
        self, stream: Stream[pb.GetServerSocketsRequest, pb.GetServerSocketsResponse]
    ) -> None:
        """The connections of a server in the order of their ids, or NOT_FOUND."""
        request = await _request(stream)
        connections = _find("server", self._registry.servers, request.server_id).connections
        page, end = _page(connections, request.start_socket_id, request.max_results)
        refs = [
            pb.SocketRef(socket_id=number, name=connection.name)
            for number, connection in page.items()
        ]
        await stream.send_message(pb.GetServerSocketsResponse(socket_ref=refs, end=end))

    async def GetChannel(self, stream: Stream[pb.GetChannelRequest, pb.GetChannelResponse]) -> None:
        """One channel, or NOT_FOUND."""
        entry = _find("channel", self._registry.channels, (await _request(stream)).channel_id)
        await stream.send_message(pb.GetChannelResponse(channel=self._messages.channel(entry)))

    async def GetSubchannel(
        self, stream: Stream[pb.GetSubchannelRequest, pb.GetSubchannelResponse]
    ) -> None:
        """One address of a channel, or NOT_FOUND."""
        number = (await _request(stream)).subchannel_id
        shown = self._messages.subchannel(_find("subchannel", self._registry.subchannels, number))
        await stream.send_message(pb.GetSubchannelResponse(subchannel=shown))

    async def GetSocket(self, stream: Stream[pb.GetSocketRequest, pb.GetSocketResponse]) -> None:
        """One connection of a channel or a server, or one of a server's listeners, or NOT_FOUND."""
        number = (await _request(stream)).socket_id
        found = _find("socket", self._registry.sockets, number)
        if isinstance(found, ListenSocket):
            shown = listener_message(number, found)
        else:
            shown = socket_message(number, found, self._messages.timestamp)
        await stream.send_message(pb.GetSocketResponse(socket=shown))


async def _request(stream: Stream[T, Any]) -> T:
    request = await stream.recv_message()
    assert request is not None  # a unary call without a request never gets here
    return request


def _find(kind: str, entries: Mapping[int, T], number: int) -> T:
    entry = entries.get(number)
    if entry is None:
        raise GRPCError(Status.NOT_FOUND, f"no {kind} has the id {number}")
    return entry


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
