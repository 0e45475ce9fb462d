"""Fuzz targets for what parses bytes without I/O: whatever comes, a value or the stated error.

A target is a function of bytes that returns if all is well and raises if it has found a mistake of
ours. Where a parser has an inverse or a simpler twin, the target compares the two.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from google.protobuf.message import DecodeError

from trioraft._proto.drpc import drpc_pb2
from trioraft._proto.ratis import raft_pb2
from trioraft.drpc.dispatcher import Dispatcher
from trioraft.protocols.openraft import messages, payload, snapshots
from trioraft.protocols.ratis import appends, notices, votes
from trioraft.raft.messages import AppendRequest, VoteRequest
from trioraft.raft.types import NodeId
from trioraft.rpc import GRPCError, Status
from trioraft.rpc.client.config.service_config import parse_service_config
from trioraft.rpc.client.naming.target import parse_target
from trioraft.rpc.compression.bounded import Inflation
from trioraft.rpc.compression.codecs import deflate_codec, gzip_codec
from trioraft.rpc.compression.settings import Compression, accepted_by, negotiate
from trioraft.rpc.details import details_of
from trioraft.rpc.metadata import decode_binary, decode_metadata, encode_binary
from trioraft.rpc.status import decode_message, encode_message, read_status
from trioraft.rpc.timeout import decode_timeout, encode_timeout
from trioraft.rpc.wire.framing import Deframer

Target = Callable[[bytes], None]

LIMIT = 4096
_CODECS = (gzip_codec(), deflate_codec())


def quieten() -> None:
    """No line for each bad call of dRPC, for the whole process."""
    logging.getLogger("trioraft.drpc").setLevel(logging.CRITICAL)


def _messages(wire: bytes, cuts: bytes, codec: int) -> tuple[list[bytes], Status | None]:
    """What a deframer makes of `wire`, cut at the given distances."""
    deframer = Deframer(LIMIT)
    if codec < len(_CODECS):
        deframer.expect(_CODECS[codec])
    out: deque[Any] = deque()
    failure: Status | None = None
    position = 0
    try:
        for cut in cuts:
            deframer.feed(wire[position : position + cut], out)
            position += cut
        deframer.feed(wire[position:], out)
    except GRPCError as error:
        failure = error.status
    found = []
    for body in out:
        if isinstance(body, Inflation):
            try:
                while not body.step():
                    assert body.size <= LIMIT + 1
                body = body.result()
            except GRPCError as error:
                body = b"refused: " + error.status.name.encode()
        assert len(body) <= LIMIT
        found.append(body)
    return found, failure


def deframer(data: bytes) -> None:
    """However DATA is cut, the same messages and the same refusal come out."""
    codec = data[0] % 3 if data else 0
    count = data[1] % 16 if len(data) > 1 else 0
    cuts, wire = data[2 : 2 + count], data[2 + count :]
    assert _messages(wire, cuts, codec) == _messages(wire, b"", codec)


def inflation(data: bytes) -> None:
    """A compressed body: its bytes within the limit, or a refusal."""
    _messages(b"\1" + len(data[1:]).to_bytes(4, "big") + data[1:], b"", data[0] % 2 if data else 0)


def timeout(data: bytes) -> None:
    """`grpc-timeout`: refused, or seconds that survive being sent on."""
    try:
        seconds = decode_timeout(data)
    except ValueError:
        return
    assert math.isfinite(seconds)
    assert seconds >= 0
    again = decode_timeout(encode_timeout(seconds))
    assert seconds - 1e-6 <= again <= seconds * 1.0001 + 1e-6


def _fields(data: bytes) -> list[tuple[bytes, bytes]]:
    """Header fields out of lines of `name:value`; names are never empty on the wire."""
    pairs = (line.partition(b":")[::2] for line in data.split(b"\n"))
    return [(name, value) for name, value in pairs if name]


def metadata(data: bytes) -> None:
    """Any fields make metadata: protocol fields are left out, and binary values are bytes."""
    for key, value in decode_metadata(_fields(data)).items():
        assert isinstance(value, bytes if key.endswith("-bin") else str)


def binary(data: bytes) -> None:
    """Base64 of `-bin` fields: refused, or bytes whose encoding means the same."""
    try:
        value = decode_binary(data)
    except ValueError:
        return
    assert decode_binary(encode_binary(value)) == value


def status(data: bytes) -> None:
    """Trailers: a status comes out, and details that can be looked at."""
    found = read_status(_fields(data))
    if isinstance(found, GRPCError):
        assert found.status is not Status.OK
        details_of(found)


def message(data: bytes) -> None:
    """`grpc-message`: text comes out, and survives being sent on."""
    text = decode_message(data)
    encoded = encode_message(text)
    assert all(0x20 <= byte < 0x7F for byte in encoded)
    assert decode_message(encoded) == text


def details(data: bytes) -> None:
    """`grpc-status-details-bin`, decoded: messages, or none."""
    details_of(GRPCError(Status.UNKNOWN, "", data))


def negotiation(data: bytes) -> None:
    """`grpc-encoding` and `grpc-accept-encoding`: agreed on, or refused."""
    encoding, _, accept = data.partition(b"\n")
    headers = {b"grpc-encoding": encoding, b"grpc-accept-encoding": accept}
    try:
        negotiate(Compression(), _CODECS[0], headers)
    except ValueError:
        assert encoding != b"identity"
    accepted_by(accept, _CODECS[0])


def target(data: bytes) -> None:
    """A target string: refused, or one that is understood again."""
    try:
        parse_target(data.decode("utf-8", "surrogateescape"))
    except ValueError:
        return


def service_config(data: bytes) -> None:
    """A service config, JSON of whoever runs the resolver: refused, or checked."""
    try:
        parse_service_config(data.decode("utf-8", "replace"))
    except ValueError:
        return


# ---- other protocols -----------------------------------------------------------------------------


def _complete(coroutine: Coroutine[Any, Any, bytes]) -> bytes:
    """Run what never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: bytes = done.value
        return result
    raise AssertionError("it waits")


def drpc(data: bytes) -> None:
    """A dRPC Call: a Response comes back."""
    drpc_pb2.Response.FromString(_complete(Dispatcher([]).dispatch(data)))


_APPEND = AppendRequest(term=5, leader=NodeId("a"), prev_index=1, prev_term=1, entries=[], commit=0)
_VOTE = VoteRequest(term=5, candidate=NodeId("a"), last_index=1, last_term=1)

_OPENRAFT: list[Callable[[bytes], object]] = [
    messages.decode_vote,
    messages.decode_append,
    messages.decode_transfer,
    snapshots.decode_snapshot_header,
    payload.unwrap,
    lambda data: messages.decode_vote_reply(NodeId("1"), _VOTE, data),
    lambda data: messages.decode_append_result(NodeId("1"), _APPEND, data),
]


def openraft(data: bytes) -> None:
    """The messages of openraft's wire, which of them the first byte says."""
    if data:
        try:
            _OPENRAFT[data[0] % len(_OPENRAFT)](data[1:])
        except ValueError:
            return


_RATIS: list[tuple[Any, Callable[[Any], object]]] = [
    (raft_pb2.AppendEntriesRequestProto, appends.decode_append),
    (raft_pb2.RequestVoteRequestProto, votes.decode_vote),
    (raft_pb2.StartLeaderElectionRequestProto, votes.decode_start_election),
    (raft_pb2.InstallSnapshotRequestProto, notices.decode_notice),
]


def ratis(data: bytes) -> None:
    """The messages of Ratis's wire, which of them the first byte says."""
    if data:
        kind, decode = _RATIS[data[0] % len(_RATIS)]
        try:
            proto = kind.FromString(data[1:])
        except DecodeError:
            return
        try:
            decode(proto)
        except ValueError:
            return


TARGETS: dict[str, Target] = {
    run.__name__: run
    for run in (
        *(deframer, inflation, timeout, metadata, binary, status, message, details, negotiation),
        *(target, service_config, drpc, openraft, ratis),
    )
}
