"""A connection or a listener as channelz shows it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from trioraft._proto.grpc import channelz_pb2 as pb
from trioraft.rpc.client.connections.connection import ClientConnection
from trioraft.rpc.peer import Peer
from trioraft.rpc.registry import ListenSocket
from trioraft.rpc.registry.timed import Timed
from trioraft.rpc.wire.connection import Connection
from trioraft.rpc.wire.http2 import Http2Error

from .messages import Timestamp

__all__ = ["address_message", "listener_message", "socket_message"]


def listener_message(number: int, listener: ListenSocket) -> pb.Socket:
    """Where a server accepts connections."""
    return pb.Socket(
        ref=pb.SocketRef(socket_id=number, name=listener.name),
        data=pb.SocketData(),
        local=address_message(listener.address),
    )


def socket_message(
    number: int, connection: Connection, timestamp: Callable[[float | None], Timestamp | None]
) -> pb.Socket:
    """What is known of a connection; its windows only while its HTTP/2 session lives."""
    streams = connection.calls_started
    failed = connection.streams_failed
    message = pb.Socket(
        ref=pb.SocketRef(socket_id=number, name=connection.name),
        data=pb.SocketData(
            streams_started=streams,
            streams_succeeded=streams - failed - len(connection.calls),
            streams_failed=failed,
            messages_sent=connection.messages_sent,
            messages_received=connection.messages_received,
            keep_alives_sent=connection.keepalives_sent,
        ),
    )
    data = message.data
    _add_windows(data, connection)
    if connection.goaway_code is not None:
        data.received_goaway_error.value = connection.goaway_code
    if isinstance(connection, ClientConnection):
        data.peer_max_concurrent_streams = connection.max_streams
    if isinstance(connection, Timed):
        _add_times(data, connection, timestamp)
    _add_peer(message, connection.peer)
    return message


def _add_windows(data: pb.SocketData, connection: Connection) -> None:
    try:
        ours, theirs = connection.engine.remote_window_size, connection.engine.local_window_size
    except Http2Error:
        return  # the session has ended
    data.local_flow_control_window.value = ours
    data.remote_flow_control_window.value = theirs


def _add_times(
    data: pb.SocketData,
    connection: Timed,
    timestamp: Callable[[float | None], Timestamp | None],
) -> None:
    called = timestamp(connection.called_at)
    ours = isinstance(connection, ClientConnection)
    times = pb.SocketData(
        last_local_stream_created_timestamp=called if ours else None,
        last_remote_stream_created_timestamp=None if ours else called,
        last_message_sent_timestamp=timestamp(connection.sent_at),
        last_message_received_timestamp=timestamp(connection.received_at),
    )
    data.MergeFrom(times)


def _add_peer(message: pb.Socket, peer: Peer) -> None:
    for field, address in ((message.local, peer.local_addr()), (message.remote, peer.addr())):
        if address is not None:
            field.CopyFrom(address_message(address))
    tls = peer.tls()
    if tls is not None:
        cipher, certificate = tls
        message.security.tls.other_name = cipher  # OpenSSL's name, not that of RFC 4346
        message.security.tls.remote_certificate = certificate or b""


def address_message(address: Any) -> pb.Address:
    """An address as the socket module gives it: a tuple for IP, else a path; or another object."""
    if isinstance(address, tuple):
        try:
            packed = ipaddress.ip_address(address[0].partition("%")[0]).packed
        except ValueError:
            return pb.Address(other_address=pb.Address.OtherAddress(name=str(address)))
        return pb.Address(tcpip_address=pb.Address.TcpIpAddress(ip_address=packed, port=address[1]))
    if isinstance(address, bytes):  # of Linux's abstract names: with a zero byte in front
        address = address.replace(b"\0", b"@", 1).decode("utf-8", "backslashreplace")
    if isinstance(address, str):
        return pb.Address(uds_address=pb.Address.UdsAddress(filename=address))
    return pb.Address(other_address=pb.Address.OtherAddress(name=str(address)))
