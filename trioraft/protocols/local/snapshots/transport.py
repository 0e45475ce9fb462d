"""The sending end: a group's transport whose snapshots go as trioraft nodes send them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioraft._proto.local import snapshot_pb2 as pb
from trioraft._proto.local.snapshot_grpc import SnapshotServiceStub
from trioraft.node.peers import PeerTransport, SnapshotChunks
from trioraft.protocols.calls import unreachable
from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.raft.types import Member
from trioraft.rpc import GRPCError, Status

from .codec import decode_outcome, encode_chunk, encode_header

if TYPE_CHECKING:
    from trioraft.rpc import Channel

__all__ = ["SnapshotTransport"]


class SnapshotTransport:
    """A PeerTransport: everything as `inner` does it, but snapshots over SnapshotService.

    A peer that does not know the service, a server of another make, gets them from `inner`.
    """

    def __init__(
        self, inner: PeerTransport, channel: Channel, group_id: bytes, peer: Member
    ) -> None:
        self._inner = inner
        self._stub = SnapshotServiceStub(channel)
        self._group_id = group_id
        self._peer = peer
        self.request_vote = inner.request_vote
        self.open_append_stream = inner.open_append_stream
        self.start_election = inner.start_election

    async def send_snapshot(
        self, request: SnapshotRequest, chunks: SnapshotChunks
    ) -> SnapshotReply:
        """As PeerTransport.send_snapshot, from where the follower says that it stands."""
        try:
            return await self._install(request, chunks)
        except _UnknownServiceError:
            return await self._inner.send_snapshot(request, chunks)

    async def _install(self, request: SnapshotRequest, chunks: SnapshotChunks) -> SnapshotReply:
        header = pb.SnapshotRequest(header=encode_header(self._group_id, request))
        sent = False
        async with self._stub.Install.open() as stream:
            try:
                with unreachable(self._peer):
                    await stream.send_message(header)
                    sent = True
                    reply: pb.SnapshotReply = await _first_reply(stream)
                if reply.HasField("resume"):
                    if request.notice:
                        chunks.runtime_only()
                    chunks.seek(reply.resume.files, reply.resume.offset)
                    async for chunk in chunks:
                        message: Any = encode_chunk(chunk.data)
                        with unreachable(self._peer):
                            await stream.send_message(message)
                    with unreachable(self._peer):
                        await stream.end()
                        reply = _present(await stream.recv_message())
                with unreachable(self._peer):
                    if not reply.HasField("outcome"):
                        raise ValueError("it does not say what became of a snapshot")
                    return decode_outcome(self._peer.id, reply.outcome)
            finally:
                if sent:
                    await stream.cancel()


class _UnknownServiceError(Exception):
    """The peer has no such service."""


async def _first_reply(stream: Any) -> pb.SnapshotReply:
    try:
        return _present(await stream.recv_message())
    except GRPCError as error:
        if error.status is Status.UNIMPLEMENTED:
            raise _UnknownServiceError from error
        raise


def _present(reply: pb.SnapshotReply | None) -> pb.SnapshotReply:
    if reply is None:
        raise ValueError("it gives no answer to a snapshot")
    return reply
