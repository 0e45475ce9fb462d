"""Opening the byte stream to one address: TCP or a Unix socket, TLS over it if asked for."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from trioraft.rpc.client.naming.address import Address
from trioraft.rpc.tls.contexts import ClientSecurity
from trioraft.rpc.tls.handshake import secure_client

__all__ = ["Dial", "DialAddress", "connect", "over_tls"]

#: Opens a byte stream to the server; raises OSError when it cannot.
Dial: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]

#: Opens a byte stream to one address of the server; raises OSError when it cannot.
DialAddress: TypeAlias = Callable[[Address], Awaitable[trio.abc.Stream]]


async def connect(address: Address) -> trio.abc.Stream:
    """Open a stream to the address, with Nagle's algorithm off.

    Raises:
        OSError: It cannot be reached; the message names it.
    """
    if address.path:
        sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        place: str | tuple[str, int] = address.path
    else:
        v6 = address.family == "ipv6"
        family = trio.socket.AF_INET6 if v6 else trio.socket.AF_INET
        sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
        place = (address.host, address.port)
    try:
        await sock.connect(place)
    except OSError as error:
        sock.close()
        problem = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f"{problem} ({address})") from error
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


def over_tls(dial: DialAddress, security: ClientSecurity, server_name: str) -> DialAddress:
    """`dial`, and TLS over what it opens."""

    async def dial_tls(address: Address) -> trio.abc.Stream:
        return await secure_client(await dial(address), security, server_name)

    return dial_tls
