"""The ways to a server: TCP, Unix sockets, TLS; and those that are taken already."""

from __future__ import annotations

import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from channel_kit import failure
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, One, serving

from trioraft.rpc import Status, open_channel, serve


async def test_unix_sockets(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = str(tmp_path / "echo.sock")
    seen: list[Any] = []

    async def handler(stream: Any) -> None:
        seen.append(stream.peer.addr())
        await stream.send_message(EchoReply())

    for _ in range(2):  # the second finds a stale file, as after a crash
        scope = trio.CancelScope()

        async def run(
            task_status: trio.TaskStatus[list[Any]], scope: trio.CancelScope = scope
        ) -> None:
            with scope:
                await serve([One(handler)], uds=path, task_status=task_status)

        assert await nursery.start(run) == [path]
        for target in (f"unix:{path}", f"unix://{path}"):
            async with open_channel(target) as channel:
                await EchoStub(channel).Unary(EchoRequest())
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert not await trio.Path(path).exists()
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
    assert seen == [""] * 4


async def test_a_unix_socket_in_use_is_refused(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = str(tmp_path / "echo.sock")
    await nursery.start(partial(serve, [Echo()], uds=path))
    with pytest.raises(OSError, match="cannot listen on unix:"):
        await serve([Echo()], uds=path)
    async with open_channel(f"unix:{path}") as channel:
        await EchoStub(channel).Unary(EchoRequest())
    nursery.cancel_scope.cancel()


async def test_a_port_in_use_is_named() -> None:
    async with serving([Echo()]) as address:
        with pytest.raises(OSError, match=f"cannot listen on {address}"):
            await serve([Echo()], port=int(address.split(":")[1]))


async def test_tcp_and_unix_at_once(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = str(tmp_path / "echo.sock")
    tcp, unix = await nursery.start(partial(serve, [Echo()], port=0, uds=path))
    assert unix == path
    for target in (f"ipv4:127.0.0.1:{tcp[1]}", f"dns:///localhost:{tcp[1]}", f"unix:{path}"):
        async with open_channel(target) as channel:
            await EchoStub(channel).Unary(EchoRequest())
    nursery.cancel_scope.cancel()


async def test_two_services_with_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="two services"):
        await serve([Echo(), Echo()], port=0)


async def test_tls(certificate: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(certificate))
    payload = bytes(1_000_000)
    async with serving([Echo()], ssl_context=server) as address:
        async with open_channel(address, ssl_context=client) as channel:
            reply = await EchoStub(channel).Unary(EchoRequest(payload=payload))
            assert reply.payload == payload
            replies = await EchoStub(channel).Expand(EchoRequest(count=100))
            assert len(replies) == 100
        async with open_channel(address, ssl_context=ssl.create_default_context()) as channel:
            error = await failure(channel)
            assert error.status is Status.UNAVAILABLE
            assert "certificate" in str(error.message)
        async with open_channel(address) as channel:  # no TLS where TLS is expected
            assert (await failure(channel)).status is Status.UNAVAILABLE
        async with open_channel(address, ssl_context=client) as channel:
            await EchoStub(channel).Unary(EchoRequest())


async def test_tls_without_http2_is_refused(certificate: Path, nursery: trio.Nursery) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.do_handshake()
            await stream.receive_some(1)
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)

    listeners = await nursery.start(
        partial(trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1")
    )
    port = listeners[0].transport_listener.socket.getsockname()[1]
    client = ssl.create_default_context(cafile=str(certificate))
    async with open_channel(f"127.0.0.1:{port}", ssl_context=client) as channel:
        assert "ALPN" in str((await failure(channel)).message)
    nursery.cancel_scope.cancel()
