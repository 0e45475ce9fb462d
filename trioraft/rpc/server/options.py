"""What a server can be told: the keyword arguments of `serve` and `open_server`, in one place."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from typing import Any, TypedDict

import trio

from trioraft.rpc.compression import CompressionLike
from trioraft.rpc.interceptors.server import ServerInterceptor
from trioraft.rpc.limits import Limits
from trioraft.rpc.registry import Registry
from trioraft.rpc.tls.contexts import ServerSecurity

from .life.rules import ConnectionLifetime, ServerKeepalive
from .listening.endpoints import Bound, Endpoint, Tcp, Unix, parse_endpoint
from .unknown import UnknownHandler

__all__ = ["ServerOptions", "endpoints_of"]

_IP = (socket.AF_INET, socket.AF_INET6)


class ServerOptions(TypedDict, total=False):
    """Keyword arguments; each may be left out.

    Attributes:
        listen: Where to listen: one or several of `tcp:HOST:PORT`, `tls:HOST:PORT`, `unix:PATH`,
            `unix-abstract:NAME`, `systemd`, or objects such as `Tcp` and `Unix`, which have more
            to choose; see `listening/endpoints.py`.
        host: The short way to one TCP port: name or address, default 127.0.0.1. `""` binds every
            interface.
        port: TCP port, default 50051; 0 lets the system choose.
        uds: The short way to `Unix(path)`.
        sockets: Stream sockets that are bound already. They are closed at the end.
        listeners: Open listeners of any `trio.abc.Stream` to serve. They are closed at the end.
        ssl_context: TLS (see `server_tls`) for `host` and `port`, `tls:`, and those of `sockets`
            that are TCP.
        limits: Bounds; see `Limits`.
        lifetime: When connections end though nothing is wrong; see `ConnectionLifetime`.
        keepalive: Pings, and how many of them clients may send; see `ServerKeepalive`.
        rng: Source of the jitter of connections' ages.
        registry: Where the server is shown while it runs; see `services.ChannelzService`.
        interceptors: What runs around every call, the first one outermost; see `ServerCall`.
        unknown: Handler of every method that no service has, whatever its kind; see
            `UnknownHandler`. Without it they are UNIMPLEMENTED.
        compression: Encoding of the messages sent to callers that accept it, by name, or
            `Compression` settings.

    Where nothing says where to listen, it is 127.0.0.1:50051.
    """

    listen: str | Endpoint | Sequence[str | Endpoint]
    host: str | None
    port: int | None
    uds: str | None
    sockets: Sequence[socket.socket]
    listeners: Sequence[trio.abc.Listener[Any]]
    ssl_context: ServerSecurity | None
    limits: Limits | None
    lifetime: ConnectionLifetime | None
    keepalive: ServerKeepalive | None
    rng: random.Random | None
    registry: Registry | None
    interceptors: Sequence[ServerInterceptor]
    unknown: UnknownHandler | None
    compression: CompressionLike


def endpoints_of(options: ServerOptions) -> list[Endpoint]:
    """Where to listen, apart from `listeners`.

    Raises:
        ValueError: A text in `listen` cannot be read; TLS is given and nothing would use it.
    """
    tls = options.get("ssl_context")
    host, port, uds = options.get("host"), options.get("port"), options.get("uds")
    listen = options.get("listen", ())
    if isinstance(listen, str) or not isinstance(listen, Sequence):
        listen = [listen]
    endpoints: list[Endpoint] = []
    sockets = options.get("sockets", ())
    nothing = not (listen or sockets or options.get("listeners")) and uds is None
    if host is not None or port is not None or nothing:
        plain = Tcp()
        endpoints.append(
            Tcp(plain.host if host is None else host, plain.port if port is None else port, tls)
        )
    if uds is not None:
        endpoints.append(Unix(uds))
    endpoints += (parse_endpoint(it, tls) if isinstance(it, str) else it for it in listen)
    endpoints += (Bound(sock, tls if sock.family in _IP else None) for sock in sockets)
    if tls is not None and not any(endpoint.tls is tls for endpoint in endpoints):
        raise ValueError("ssl_context is given, but nothing would be served with it: say tls:...")
    return endpoints
