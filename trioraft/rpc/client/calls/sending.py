"""The sending half of a client's call: from opening the stream to ending our direction."""

from __future__ import annotations

from typing import TypeVar

import trio

from trioraft.rpc.metadata import encode_metadata
from trioraft.rpc.status import GRPCError, Status
from trioraft.rpc.wire.call import misuse
from trioraft.rpc.wire.flow import FAIR_SHARE
from trioraft.rpc.wire.http2 import Http2Error

from .opening import OpeningCall

S = TypeVar("S")
R = TypeVar("R")

_INFINITY = float("inf")


class SendingCall(OpeningCall[S, R]):
    """The part of a `ClientStream` that sends. Internal."""

    async def send_request(self, *, end: bool = False) -> None:
        """Open the stream: connect if need be, send headers. `send_message` does it if need be.

        Waits for the connection and for a free stream on it; no checkpoint if both are there.
        Cancelled, or with the deadline passed already, nothing is sent.

        Args:
            end: Also end our direction: a streaming call without messages.

        Raises:
            GRPCError: UNAVAILABLE: no connection, and why. RESOURCE_EXHAUSTED: too many calls wait.
            ProtocolError: Sent already, or `end` on a call that takes one message.
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        if self._sent_request:
            raise misuse("the request was sent already")
        if end and not self._cardinality.client_streaming:
            raise misuse("a unary request takes a message before it ends")
        metadata = encode_metadata(self._metadata) if self._metadata else None
        at = self._time_limit()
        if at != _INFINITY and at <= trio.current_time():
            self._prefer_scope()
            await trio.lowlevel.checkpoint()
        if not self._channel.inherit_deadlines:
            at = self._own_limit
        while not self._sent_request:
            connection = self._channel.connector.ready
            if connection is None:
                self._prefer_scope()
                connection = await self._channel.connection(self.wait_for_ready)
            try:
                self._open(connection, metadata, at, end)
            except GRPCError:
                continue  # it has just come to take no more: the next one may

    async def send_message(self, message: S, *, end: bool = False, compress: bool = True) -> None:
        """Send one message; `end` ends our direction, a unary request does so by itself.

        `compress=False` sends this one uncompressed on a call with compression. A large message
        is compressed in slices, between which others run.

        Waits for a connection if the call is not open yet, and while more than
        `Limits.max_queued_bytes` of this call are unsent; gives way after 64 messages without
        waiting; else no checkpoint. Cancelled while waiting, the message is not sent. Once the
        server has ended the call with OK, further messages are dropped.

        Raises:
            GRPCError: The call has ended with this status. RESOURCE_EXHAUSTED: over the limit.
            ProtocolError: A second unary message, or our direction is ended.
            TypeError: Not a message of the method's request type.
        """
        self._check_order()
        data = self._encode(message)
        if not self._sent_request:
            await self.send_request()
        elif self._streak >= FAIR_SHARE or self._queued > self._limits.max_queued_bytes:
            await self._pace()
        if self._encoder is not None and compress:
            data = await self._compress(data)
        self._send(data, end)

    def send_message_nowait(self, message: S, *, end: bool = False, compress: bool = True) -> None:
        """Queue one message without ever waiting, on a call that is open (`send_request`).

        On a call with compression it is compressed at once, however large.

        Raises:
            trio.WouldBlock: Too much is queued; `wait_writable` first.
            GRPCError, ProtocolError, TypeError: As `send_message`.
        """
        self._check_order()
        if not self._sent_request:
            raise misuse("send_request() first")
        if self.crowded:
            raise trio.WouldBlock
        data = self._encode(message)
        if self._encoder is not None and compress:
            data = self._compress_now(data)
        self._send(data, end)

    def queue_message(self, message: S) -> None:
        """As `send_message_nowait`, on a call that streams requests, for the caller to `flush`.

        It must do so before anything else runs: nothing sends the message otherwise.
        """
        self._check_order()
        if not self._sent_request:
            raise misuse("send_request() first")
        if self.crowded:
            raise trio.WouldBlock
        self._send(self._compress_now(self._encode(message)), False, wake=False)

    def _check_order(self) -> None:
        if self._sent_end:
            raise misuse("our direction of the stream is ended")
        if self._cancelled:
            raise misuse("the call was cancelled")

    def _send(self, data: bytes, end: bool, *, wake: bool = True) -> None:
        if self._failure is not None:
            self._raise_failure()
        if self._closed or self._got_trailers:
            if self._unseen:
                self._hold(data)
                self._sent_end = end or not self._cardinality.client_streaming
            return
        if not self._sent_message:
            self._sent_message = True
            self._first = data
        elif self._replayable:
            self._keep(data)
        last = end or not self._cardinality.client_streaming
        self._put(data, last, wake=wake)
        if wake:
            self._connection.queued(2 if last else 1)

    async def end(self) -> None:
        """End our direction of the stream. Never waits.

        Raises:
            ProtocolError: Not open yet, ended already, or a unary request without its message.
            GRPCError: UNAVAILABLE: the connection has just gone.
        """
        if not self._sent_request:
            raise misuse("the request was not sent")
        if not self._cardinality.client_streaming:
            if not self._sent_message:
                raise misuse("a unary request takes a message before it ends")
            return
        if self._sent_end:
            raise misuse("our direction of the stream is ended already")
        self._sent_end = True
        if not self._closed:
            try:
                self._connection.engine.end_stream(self._id)
            except Http2Error as error:
                raise self._cannot_send(error) from error
            self._connection.mark_dirty()

    async def cancel(self) -> None:
        """Reset the stream (CANCEL); leaving the block then raises nothing. Never waits.

        Raises:
            ProtocolError: Not open yet, or done already.
        """
        if not self._sent_request:
            raise misuse("the request was not sent")
        if self._cancelled:
            raise misuse("the call was cancelled already")
        self._cancelled = True
        self._failure = self._failure or GRPCError(Status.CANCELLED, "cancelled by the caller")
        if self._reopening is not None:
            self._reopening.cancel()
        self._reset()
        self._wake_reader()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled
