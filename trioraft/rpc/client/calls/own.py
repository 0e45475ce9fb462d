"""Calls of a channel's own: what it asks the server of one connection, to use it well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from grpclib.const import Cardinality

from trioraft.rpc.credentials import metadata_of
from trioraft.rpc.metadata import encode_metadata

from .answer import AnsweredCall

if TYPE_CHECKING:
    from trioraft.rpc.client.channel import Channel
    from trioraft.rpc.client.connections.connection import ClientConnection

__all__ = ["OwnCall"]


class OwnCall(AnsweredCall[Any, Any]):
    """One request and a stream of replies, on the connection that it is about.

    It is never made again, no interceptor sees it, and it is no use of the connection.
    """

    def __init__(self, channel: Channel, path: str, reply_type: type[Any]) -> None:
        """reply_type: as of `Channel.request`."""
        super().__init__(channel, path, Cardinality.UNARY_STREAM, bytes, reply_type, None, None)

    async def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Those of the request, the channel's call credentials included, which may wait.

        Raises:
            GRPCError: The credentials have failed.
        """
        channel = self._channel
        headers = channel.request_headers(self._path)
        if channel.credentials != ():
            metadata = await metadata_of(channel.credentials, channel.authority, self._path)
            headers = [*headers, *encode_metadata(metadata)]
        return headers

    def begin(
        self, connection: ClientConnection, headers: Sequence[tuple[bytes, bytes]], request: bytes
    ) -> None:
        """Send the request, encoded. Never waits.

        Raises:
            GRPCError: UNAVAILABLE: the connection takes no more streams.
        """
        self._id = connection.open_watch(self, headers)
        self._connection = connection
        self._sent_request = True
        self._put(request, True)

    def leave(self) -> None:
        """Reset the stream, if it is open."""
        if self._sent_request:
            self._reset()
