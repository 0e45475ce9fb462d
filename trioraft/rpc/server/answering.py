"""The sending half of a call to a server: from the response headers to the status."""

from __future__ import annotations

import logging
from typing import TypeVar

import trio

from trioraft.rpc.compression.codec import Codec
from trioraft.rpc.compression.settings import ACCEPT, ENCODING, accepted_by
from trioraft.rpc.metadata import MetadataLike, encode_metadata
from trioraft.rpc.status import GRPCError, Status, status_headers
from trioraft.rpc.wire.call import misuse
from trioraft.rpc.wire.flow import FAIR_SHARE
from trioraft.rpc.wire.http2 import ErrorCode, Http2Error

from .request import RequestedCall
from .trailers import Trailers

log = logging.getLogger(__name__)

S = TypeVar("S")
R = TypeVar("R")

RESPONSE = [(b":status", b"200"), (b"content-type", b"application/grpc")]
OK = [(b"grpc-status", b"0")]


class AnsweringCall(RequestedCall[S, R], Trailers):
    """The part of a `ServerStream` that answers. Internal."""

    # ---- answering ---------------------------------------------------------------------------

    async def send_initial_metadata(self, *, metadata: MetadataLike | None = None) -> None:
        """Send the response headers. `send_message` does it if this did not. Never waits.

        Raises:
            ProtocolError: They are sent already.
            GRPCError: CANCELLED: the caller went away.
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        if self._sent_headers or self._sent_trailers:
            raise self._cut_off or misuse("initial metadata was sent already")
        self._require_open()
        self._send_headers(encode_metadata(metadata) if metadata else [])

    def _send_headers(self, extra: list[tuple[bytes, bytes]]) -> None:
        headers = self._response(extra) if extra or self._agreed else RESPONSE
        try:
            self._connection.engine.send_response(self._id, headers)
        except Http2Error as error:
            raise self._cannot_send(error) from error
        self._sent_headers = True
        self._connection.mark_dirty()

    def agree(self, decoder: Codec | None, encoder: Codec | None) -> None:
        """What the caller's messages may be compressed with, and what ours are."""
        self._agreed = True
        if decoder is not None:
            self.expect_compressed(decoder)
        self._encoder = encoder

    def set_compression(self, name: str) -> None:
        """Send with this encoding, in place of the server's own choice; `"identity"` is none.

        Before the response headers are sent. What the caller does not accept is sent
        uncompressed. Never waits.

        Raises:
            ValueError: The encoding is not known to this server.
            ProtocolError: The headers were sent already.
        """
        codec = self._connection.compression.choose(name)
        if self._sent_headers or self._sent_trailers:
            raise misuse("initial metadata, which names the encoding, was sent already")
        accepts = dict(self._headers).get(ACCEPT, b"")
        self._encoder = codec if codec is not None and accepted_by(accepts, codec) else None
        self._agreed = True

    def _response(self, extra: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        if not self._agreed:
            return RESPONSE + extra
        said = [self._connection.compression.accept]
        if self._encoder is not None:
            said.append((ENCODING, self._encoder.name.encode("ascii")))
        return RESPONSE + said + extra

    async def send_message(self, message: S, *, compress: bool = True) -> None:
        """Send one message; `compress=False` sends it uncompressed on a call with compression.

        A large message is compressed in slices, between which others run.

        Waits first while more than `Limits.max_queued_bytes` of this call are unsent, and gives
        way after 64 messages without waiting; else no checkpoint. Cancelled while waiting, the
        message is not sent.

        Raises:
            ProtocolError: A second message of a unary reply, or the call has ended.
            GRPCError: RESOURCE_EXHAUSTED: over the size limit. CANCELLED: the caller went away.
            TypeError: Not a message of the method's reply type.
        """
        if self._streak >= FAIR_SHARE or self._queued > self._limits.max_queued_bytes:
            await self._pace()
        data = self._encode(message)
        if self._encoder is not None and compress:
            data = await self._compress(data)
        further = self._sent_message
        self._send(data)
        if further:  # a call's first message waits for its status: it is the only one, as a rule
            self._connection.queued(1)

    def send_message_nowait(self, message: S, *, compress: bool = True) -> None:
        """Queue one message without ever waiting: all of a scheduler pass leave in one send.

        On a call with compression it is compressed at once, however large.

        Raises:
            trio.WouldBlock: Too much is queued; `wait_writable` first.
            ProtocolError, GRPCError, TypeError: As `send_message`.
        """
        if self.crowded:
            raise trio.WouldBlock
        data = self._encode(message)
        if self._encoder is not None and compress:
            data = self._compress_now(data)
        self._send(data)

    def queue_message(self, message: S) -> None:
        """As `send_message_nowait`, for the caller to `flush` before anything else runs."""
        if self.crowded:
            raise trio.WouldBlock
        self._send(self._compress_now(self._encode(message)), wake=False)

    def _send(self, data: bytes, *, wake: bool = True) -> None:
        if self._sent_trailers:
            raise self._cut_off or misuse("the call has ended: trailing metadata was sent")
        if self._sent_message and not self._handler.cardinality.server_streaming:
            raise misuse("a unary reply was sent already")
        if self._closed:
            self._require_open()
        if not self._sent_headers:
            self._send_headers([])
        self._put(data, False, wake=wake)
        self._sent_message = True

    async def send_trailing_metadata(
        self,
        *,
        status: Status = Status.OK,
        status_message: str | None = None,
        status_details: object = None,
        metadata: MetadataLike | None = None,
    ) -> None:
        """End the call with a status. Without it, returning ends it with OK. Never waits.

        Args:
            status_details: A serialized `google.rpc.Status`, or the message itself.

        Raises:
            ProtocolError: Sent already, or OK for a unary call without its reply.
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        if self._sent_trailers:
            raise self._cut_off or misuse("trailing metadata was sent already")
        unary = not self._handler.cardinality.server_streaming
        if unary and status is Status.OK and not self._sent_message:
            raise misuse("OK for a unary call needs a reply first")
        headers = status_headers(
            status, status_message, status_details, limit=self._limits.max_status
        )
        extra = encode_metadata(metadata) if metadata else []
        self._require_open()
        self._not_ok = status is not Status.OK
        self._finish(headers, extra)

    async def cancel(self) -> None:
        """Reset the stream: the caller gets CANCELLED. Never waits.

        Raises:
            ProtocolError: Done already.
        """
        if self._reset_sent:
            raise misuse("the stream was cancelled already")
        self._sent_trailers = self._not_ok = True
        self._connection.streams_failed += 1
        self._reset()

    def _require_open(self) -> None:
        if self._closed or self._reset_sent:
            raise GRPCError(Status.CANCELLED, "the caller went away")

    def _finish(
        self, trailers: list[tuple[bytes, bytes]], extra: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        engine = self._connection.engine
        self._sent_trailers = True
        if self._extra_trailers:
            trailers = trailers + self._extra_trailers
        if extra:
            trailers = trailers + extra
        try:
            if self._sent_headers:
                engine.send_trailers(self._id, trailers)
            else:
                engine.send_response(self._id, self._response(trailers), end_stream=True)
        except Http2Error as error:
            log.info("%s: no way to answer %s: %s", self.method_name, self.peer, error)
            return
        if not self._ended:
            self._stop_caller()
        self._connection.mark_dirty()

    def _stop_caller(self) -> None:
        """The caller may still be sending: tell it to stop, behind the status."""
        self._discard()
        self._connection.reset_when_sent(self._id, ErrorCode.NO_ERROR)
