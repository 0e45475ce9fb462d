"""From a call to a stream on some connection, and to another one if no server has seen the first.

A stream that provably reached no handler is opened again without the application noticing: gRFC
A6, "Transparent Retries". No task of its own does that, but the one that next waits in the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio
from trio.lowlevel import current_task, wait_task_rescheduled

from trioraft.rpc.compression.settings import ENCODING, accepted_by
from trioraft.rpc.metadata import encode_metadata
from trioraft.rpc.status import GRPCError, Status
from trioraft.rpc.timeout import encode_timeout
from trioraft.rpc.wire.flow import FAIR_SHARE
from trioraft.rpc.wire.http2 import ErrorCode

from .timing import TimedCall

if TYPE_CHECKING:
    from trioraft.rpc.client.connections.connection import ClientConnection
    from trioraft.rpc.compression.codec import Codec

S = TypeVar("S")
R = TypeVar("R")

_INFINITY = float("inf")


class OpeningCall(TimedCall[S, R]):
    """The part of a `ClientStream` that opens it. Internal.

    Until the response begins, what was sent is kept, to be sent again: the first message whatever
    its size (a unary request is one), more of them up to `Limits.max_replay` bytes in all.
    """

    _unseen = False  # the stream has ended, and no server has seen it: to be opened again
    _refusals = 0  # by servers; what never left us does not count
    _reopened: trio.Event | None = None  # for others that wait for it
    _replayable = True
    _first = b""  # the first message, encoded
    _more: list[bytes] | None = None  # those after it
    _kept = 0  # bytes of these

    # ---- pushed in by the connection ---------------------------------------------------------

    def _unprocessed(self, code: int, cause: Exception | None) -> bool:
        if code != ErrorCode.REFUSED_STREAM or self._got_response or self._failure is not None:
            return False
        # With a local cause the engine has not sent the request, because the server leaves. Else
        # it was the server: by RST_STREAM, or by GOAWAY with an earlier stream's id.
        self._refusals += cause is None
        return self._replayable and self._refusals < 2 and self._lose()

    def _unsent(self) -> bool:
        if self._failure is not None or not self._connection.unsent(self._id):
            return False
        return self._replayable and self._lose()

    def _lose(self) -> bool:
        """The stream is gone, but the call is not: whoever uses it next opens another one."""
        self._unseen = self._closed = True
        self._streak = FAIR_SHARE  # sends take their slow path
        self._wake_reader()
        self._wake_writer()
        return True

    # ---- opening -----------------------------------------------------------------------------

    def _open(
        self,
        connection: ClientConnection,
        metadata: list[tuple[bytes, bytes]] | None,
        deadline: float,
        end: bool,
    ) -> None:
        headers = self._channel.request_headers(self._path)
        if deadline != _INFINITY or metadata or self._encoder is not None:
            headers = headers.copy()
            if self._encoder is not None:
                self._agree(connection, self._encoder, headers)
            if deadline != _INFINITY:
                timeout = encode_timeout(deadline - trio.current_time())
                headers.append((b"grpc-timeout", timeout))
            if metadata:
                headers += metadata
        self._id = connection.open(self, headers, end_stream=end)
        self._connection = connection
        self._sent_request = True
        self._sent_end = end

    def _agree(
        self, connection: ClientConnection, codec: Codec, headers: list[tuple[bytes, bytes]]
    ) -> None:
        """Name our encoding, unless the server has said on this connection that it has no such."""
        accepted = connection.accepted_encodings
        if accepted is None or self._sent_message or accepted_by(accepted, codec):
            headers.append((ENCODING, codec.name.encode("ascii")))
        else:
            self._encoder = None

    # ---- keeping, and opening again ----------------------------------------------------------

    def _keep(self, data: bytes) -> None:
        """One more message that may have to be sent again."""
        if self._got_response or self._kept + len(data) > self._limits.max_replay:
            self._replayable = False
            self._first, self._more = b"", None
            return
        if self._more is None:
            self._more = []
            self._kept = len(self._first)
        self._more.append(data)
        self._kept += len(data)

    def _hold(self, data: bytes) -> None:
        """A message for a stream that is not open: it goes out with the next one."""
        if self._sent_message and self._kept + len(data) > self._limits.max_replay:
            raise trio.WouldBlock
        if self._sent_message:
            self._keep(data)
        else:
            self._sent_message = True
            self._first = data

    async def _reopen(self) -> None:
        """Open a stream and send again what was sent. Cancelled, it is as if it had not begun."""
        if self._reopened is not None:
            await self._reopened.wait()
            return
        over = self._reopened = trio.Event()
        try:
            with trio.CancelScope() as self._reopening:
                await self._replay()
        except GRPCError as error:
            self._unseen = False
            self._failure = self._failure or error
            self._wake_reader()
        finally:
            self._reopening = self._reopened = None
            over.set()

    async def _find(self) -> ClientConnection:
        """A connection for one more stream of a call that has begun.

        Raises:
            GRPCError: There is none to be had; the channel has been closed meanwhile.
        """
        try:
            return await self._channel.connection(self.wait_for_ready)
        except RuntimeError as error:
            raise GRPCError(Status.UNAVAILABLE, str(error)) from error

    async def _replay(self) -> None:
        metadata = encode_metadata(self._metadata) if self._metadata else None
        at = self._time_limit() if self._channel.inherit_deadlines else self._own_limit
        while self._unseen:
            connection = await self._find()
            if self._failure is not None:
                self._channel.connector.pass_on()
                return  # the block has ended meanwhile
            ended = self._sent_end
            messages = [self._first, *(self._more or ())] if self._sent_message else []
            self._acknowledge_at = self._limits.stream_window // 4
            self._queued = self._streak = 0
            self._unseen = self._closed = self._reset_sent = False
            try:
                self._open(connection, metadata, at, ended and not messages)
            except GRPCError:
                self._lose()  # it has just come to take no more: the next one may
                continue
            for index, data in enumerate(messages, 1):
                self._put(data, ended and index == len(messages))

    # ---- waiting, as the bases do it, for a stream that is open ------------------------------

    async def _wait_readable(self) -> None:
        if self._unseen:
            await self._reopen()
            return
        # The same as the base's: one coroutine less for every wait.
        if self._reader is not None:
            raise trio.BusyResourceError("another task is already receiving on this call")
        self._streak = 0
        self._reader = current_task()
        await wait_task_rescheduled(self._abort_reader)

    async def _pace(self) -> None:
        if self._unseen:
            await self._reopen()
        await super()._pace()

    async def wait_writable(self) -> None:
        if self._unseen:
            await self._reopen()
        await super().wait_writable()
