"""Attacks by doing nothing, or next to it: silence, slowness, crowds. On whole servers."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio
from _frames import PREFACE, settings


async def dial(address: str) -> trio.SocketStream:
    """A plain TCP connection to `host:port`."""
    host, _, port = address.rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


async def hung_up(stream: trio.abc.Stream) -> bytes:
    """Wait until the victim ends the connection; what it said before."""
    said = b""
    try:
        while chunk := await stream.receive_some(65_536):
            said += chunk
    except trio.BrokenResourceError:
        pass  # a reset is an end as well
    return said


async def drip(stream: trio.abc.Stream, opening: bytes, pause: float) -> None:
    """Send `opening` byte by byte, until it is sent or the victim has had enough."""
    try:
        for byte in opening:
            await stream.send_all(bytes([byte]))
            await trio.sleep(pause)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


def client_hello() -> bytes:
    """The beginning of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake of one message")


def reset(stream: trio.SocketStream) -> None:
    """Have closing it send a TCP reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@asynccontextmanager
async def crowd(
    address: str, count: int, *, greets: bool
) -> AsyncIterator[list[trio.SocketStream]]:
    """So many idle connections at once; with `greets`, they are HTTP/2."""
    async with AsyncExitStack() as stack:
        streams = []
        for _ in range(count):
            stream = await dial(address)
            stack.push_async_callback(trio.aclose_forcefully, stream)
            if greets:
                await stream.send_all(PREFACE + settings())
            streams.append(stream)
        yield streams
