"""channelz over real sockets: as grpcio reads it, and what TLS adds."""

from __future__ import annotations

import ipaddress
import ssl
from functools import partial
from pathlib import Path

import grpc
import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import Echo, serving
from grpc_channelz.v1 import channelz_pb2 as official
from grpc_channelz.v1 import channelz_pb2_grpc

from trioraft._proto.grpc import channelz_pb2 as pb
from trioraft._proto.grpc.channelz_grpc import ChannelzStub
from trioraft.rpc import (
    open_channel,
    serve,
)
from trioraft.rpc.services import ChannelzService, Registry


async def test_grpcio_agrees() -> None:
    """Its stubs, over TCP, on the very server that they ask about."""
    registry = Registry()

    def talk(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            stub = channelz_pb2_grpc.ChannelzStub(channel)
            [server] = stub.GetServers(official.GetServersRequest(), timeout=10).server
            assert server.ref.name == address
            request = official.GetServerSocketsRequest(server_id=server.ref.server_id)
            [listening] = server.listen_socket
            wanted = official.GetSocketRequest(socket_id=listening.socket_id)
            listener = stub.GetSocket(wanted, timeout=10).socket
            assert listener.local.tcpip_address.port == int(address.rpartition(":")[2])
            assert not listener.HasField("remote")
            [ref] = stub.GetServerSockets(request, timeout=10).socket_ref
            wanted = official.GetSocketRequest(socket_id=ref.socket_id)
            socket = stub.GetSocket(wanted, timeout=10).socket
            local = socket.local.tcpip_address
            assert ipaddress.ip_address(local.ip_address) == ipaddress.ip_address("127.0.0.1")
            assert address.endswith(f":{local.port}")
            assert socket.remote.tcpip_address.port not in (0, local.port)
            assert (socket.data.streams_started, socket.data.streams_succeeded) == (4, 3)
            assert not socket.HasField("security")

    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(
            partial(serve, [ChannelzService(registry)], port=0, registry=registry)
        )
        await trio.to_thread.run_sync(talk, f"127.0.0.1:{address[1]}")
        nursery.cancel_scope.cancel()


async def test_tls_is_shown(certificate: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(certificate))
    registry = Registry()
    services = [Echo(), ChannelzService(registry)]
    async with serving(services, ssl_context=server, registry=registry) as address:
        async with open_channel(address, ssl_context=client, registry=registry) as channel:
            await EchoStub(channel).Unary(EchoRequest())
            [server], [subchannel] = registry.servers.values(), registry.subchannels.values()
            shown = []
            for entry in (subchannel, server):
                [number] = entry.connections
                request = pb.GetSocketRequest(socket_id=number)
                shown.append((await ChannelzStub(channel).GetSocket(request)).socket.security.tls)
    ours, theirs = shown
    assert ours.other_name == theirs.other_name != ""
    pem = ssl.DER_cert_to_PEM_cert(ours.remote_certificate)
    assert pem in await trio.Path(certificate).read_text()
    assert theirs.remote_certificate == b""  # the client has shown none
