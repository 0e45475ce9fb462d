"""Load reports (ORCA) as balancers get them: in the trailers of calls, and as a stream.

Not imported before a channel balances by them: it loads the messages. Sources: gRPC proposals A51
(custom backend metrics), "The LB Policy API", and A58.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from trioraft._proto.grpc.orca_service_pb2 import OrcaLoadReportRequest
from trioraft.rpc.client.calls.own import OwnCall
from trioraft.rpc.client.connections.backoff import Backoff
from trioraft.rpc.metadata import decode_binary
from trioraft.rpc.orca import STREAM, TRAILER, LoadReport
from trioraft.rpc.status import GRPCError, Status

if TYPE_CHECKING:
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


class LoadWatch:
    """The stream of reports of one connection's server, opened again when it ends.

    Streams are spaced as connections are; one that has brought a report begins the pauses anew. So
    a server that reports and hangs up at once is not asked without end, where A51 would ask it
    again immediately. One that does not know the service is not asked again.
    """

    def __init__(
        self,
        channel: Channel,
        connection: ClientConnection,
        period: float,
        heard: Callable[[LoadReport], None],
    ) -> None:
        """period: seconds between reports; the server may want more. heard: must not wait."""
        self._channel = channel
        self._connection = connection
        self._heard = heard
        request = OrcaLoadReportRequest()
        request.report_interval.FromNanoseconds(int(period * 1e9))
        self._request: bytes = request.SerializeToString()
        limits = channel.limits
        self._backoff = Backoff(limits.reconnect_min, limits.reconnect_max, channel.rng)

    async def run(self) -> None:
        """Task: until it is cancelled, or the server turns out not to report."""
        while await self._watch():
            pass

    async def _watch(self) -> bool:
        """One stream and the pause after it; whether there is to be another."""
        began = trio.current_time()
        due = self._backoff.begin(began)
        reported = False
        call = OwnCall(self._channel, STREAM, _Undecoded)
        try:
            headers = await call.headers()
            if not self._connection.has_room:
                raise GRPCError(Status.UNAVAILABLE, "every stream of the connection is taken")
            call.begin(self._connection, headers, self._request)
            while (data := await call.recv_message()) is not None:
                if not reported:
                    reported = True
                    self._backoff.reset()
                    due = self._backoff.begin(began)
                self._take(data)
        except GRPCError as error:
            if error.status is Status.UNIMPLEMENTED:
                self._complain("its server streams no load reports (UNIMPLEMENTED)")
                return False
            reason = f"{error.status.name}: {error.message}"
            log.info("%s: the stream of load reports: %s", self._connection.name, reason)
        finally:
            call.leave()
        await trio.sleep_until(due)
        return True

    def _take(self, data: bytes) -> None:
        try:
            load = LoadReport.decode(data)
        except ValueError as error:
            log.info("%s: %s", self._connection.name, error)
        else:
            self._heard(load)

    def _complain(self, problem: str) -> None:
        log.error("%s: %s", self._connection.name, problem)
        if self._channel.entry is not None:
            self._channel.entry.problem(f"{self._connection.name}: {problem}")
