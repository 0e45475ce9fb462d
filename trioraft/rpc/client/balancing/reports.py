"""Load reports (ORCA) as balancers get them: in the trailers of calls, and as a stream.

Not imported before a channel balances by them: it loads the messages. Sources: gRPC proposals A51
(custom backend metrics), "The LB Policy API", and A58.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from trioraft._proto.grpc.orca_service_pb2 import OrcaLoadReportRequest
from trioraft.rpc.client.calls.standing import StandingCall
from trioraft.rpc.metadata import decode_binary
from trioraft.rpc.orca import STREAM, TRAILER, LoadReport
from trioraft.rpc.status import GRPCError, Status

if TYPE_CHECKING:
    from trioraft.rpc.client.calls.own import OwnCall
    from trioraft.rpc.client.channel import Channel
    from trioraft.rpc.client.connections.connection import ClientConnection

__all__ = ["LoadTrailers", "LoadWatch"]

log = logging.getLogger(__name__)

_TRAILER = TRAILER.encode("ascii")


class LoadTrailers:
    """The reports in the trailers of one server's calls.

    Servers take samples of their load now and then, so that most calls bring what the one before
    has brought: that is not decoded again.
    """

    __slots__ = ("_last", "_load")

    def __init__(self) -> None:
        self._last = b""
        self._load: LoadReport | None = None

    def load_in(self, headers: tuple[tuple[bytes, bytes], ...]) -> LoadReport | None:
        """The report in a call's trailers, as `orca.load_of` but for header fields.

        None if there is none or several, or if it is not valid.
        """
        found: bytes | None = None
        for name, value in headers:
            if name == _TRAILER:
                if found is not None:
                    return None
                found = value
        if found is None:
            return None
        if found != self._last:
            self._last, self._load = found, _decoded(found)
        return self._load


def _decoded(value: bytes) -> LoadReport | None:
    try:
        return LoadReport.decode(decode_binary(value))
    except ValueError:
        return None


class _Undecoded:
    """The class of the replies, so that one bad report does not end the stream."""

    FromString = staticmethod(bytes)


class LoadWatch(StandingCall):
    """The stream of reports of one connection's server."""

    def __init__(
        self,
        channel: Channel,
        connection: ClientConnection,
        period: float,
        heard: Callable[[LoadReport], None],
    ) -> None:
        """period: seconds between reports; the server may want more. heard: must not wait."""
        wish = OrcaLoadReportRequest()
        wish.report_interval.FromNanoseconds(int(period * 1e9))
        super().__init__(channel, connection, STREAM, wish.SerializeToString(), _Undecoded)
        self._heard = heard

    async def _ask(self, call: OwnCall) -> None:
        if not self._connection.has_room:  # calls come first: balancing can do without
            raise GRPCError(Status.UNAVAILABLE, "every stream of the connection is taken")
        await super()._ask(call)

    def _take(self, data: bytes) -> None:
        try:
            load = LoadReport.decode(data)
        except ValueError as error:
            log.info("%s: %s", self._connection.name, error)
        else:
            self._heard(load)

    def _unknown(self) -> None:
        problem = f"{self._connection.name}: its server streams no load reports (UNIMPLEMENTED)"
        log.error("%s", problem)
        if self._channel.entry is not None:
            self._channel.entry.problem(problem)

    def _lost(self, reason: str) -> None:
        log.info("%s: the stream of load reports %s", self._connection.name, reason)

    def _next(self) -> None:
        """What was reported counts until it expires."""
