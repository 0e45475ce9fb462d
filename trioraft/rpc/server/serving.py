"""Serving: listeners, one nursery per connection, until cancelled."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Collection, Sequence
from typing import Any

import trio

from trioraft.rpc.compression import Compression, CompressionLike
from trioraft.rpc.interceptors.server import ServerInterceptor
from trioraft.rpc.limits import Limits
from trioraft.rpc.registry import Entry, Registry, registered

from .connection import ServerConnection
from .listen import bound_address, open_listeners
from .overdue import Overdue
from .service import Methods, Service, methods_of

log = logging.getLogger(__name__)


async def serve(
    services: Collection[Service],
    *,
    host: str | None = None,
    port: int | None = None,
    uds: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    listeners: Sequence[trio.abc.Listener[Any]] = (),
    registry: Registry | None = None,
    interceptors: Sequence[ServerInterceptor] = (),
    compression: CompressionLike = None,
    task_status: trio.TaskStatus[list[Any]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve gRPC until cancelled.

    Args:
        services: Service objects, as grpclib's plugin generates their bases.
        host: Name or address to bind, default 127.0.0.1. `""` binds every interface.
        port: TCP port, default 50051; 0 lets the system choose.
        uds: Path of a Unix socket to serve. A stale socket file there is replaced, and the file
            is removed at the end.
        ssl_context: TLS for the TCP listeners; ALPN is set to `h2` on it.
        limits: Bounds; see `Limits`.
        listeners: Open listeners of any `trio.abc.Stream` to serve. They are closed at the end.
        registry: Where the server is shown while it runs; see `services.ChannelzService`.
        interceptors: What runs around every call, the first one outermost; see `ServerCall`.
        compression: Encoding of the messages sent to callers that accept it, by name, or
            `Compression` settings.

    Started with `nursery.start`, it returns the list of bound addresses: `(host, port)` for TCP, a
    path for a Unix socket, the listener itself for one that was handed in. Without `uds` and
    `listeners`, the TCP defaults apply; with either, TCP is served if `host` or `port` is given.

    Cancelling it sends GOAWAY to every client, cancels the handlers and closes the sockets.

    Raises:
        OSError: An address cannot be bound; the message names it.
        ValueError: Two services have the same method, or an encoding is not known.
    """
    limits = limits or Limits()
    methods = methods_of(services, limits.max_receive_message, interceptors)
    if host is None and port is None and uds is None and not listeners:
        host = "127.0.0.1"
    opened = await open_listeners(host, port, uds, ssl_context)
    every = [*opened.listeners, *listeners]
    addresses = [bound_address(listener) for listener in every]
    entry = registry.add_server(", ".join(map(_text, addresses))) if registry is not None else None
    server = _Server(methods, limits, entry, Compression.of(compression))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.overdue.run)
            for listener in every:
                nursery.start_soon(server.accept, listener)
            task_status.started(addresses)
    finally:
        if registry is not None and entry is not None:
            registry.remove_server(entry)
        opened.remove_socket_file()


def _text(address: Any) -> str:
    """A bound address for people."""
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)


class _Server:
    """Accepts connections and counts them."""

    def __init__(
        self, methods: Methods, limits: Limits, entry: Entry | None, compression: Compression
    ) -> None:
        self._compression = compression
        self._methods = methods
        self._entry = entry
        self._limits = limits
        self._connections = 0
        self._refusing = False
        self.overdue = Overdue()

    async def accept(self, listener: trio.abc.Listener[Any]) -> None:
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream: trio.abc.Stream) -> None:
        if self._connections >= self._limits.max_connections:
            if not self._refusing:
                log.warning("refusing connections: %d are open", self._connections)
            self._refusing = True
            await trio.aclose_forcefully(stream)
            return
        self._refusing = False
        self._connections += 1
        try:
            await self._run(stream)
        except Exception:
            # Whatever is wrong with this connection must not reach the others.
            log.exception("a connection failed")
            await trio.aclose_forcefully(stream)
        finally:
            self._connections -= 1

    async def _run(self, stream: trio.abc.Stream) -> None:
        timeout = self._limits.handshake_timeout
        if isinstance(stream, trio.SSLStream) and not await _tls(stream, timeout):
            await trio.aclose_forcefully(stream)
            return
        connection = ServerConnection(
            stream, self._methods, self._limits, self.overdue, self._compression
        )
        with registered(self._entry, connection):
            await connection.run(timeout)


async def _tls(stream: trio.SSLStream[Any], timeout: float) -> bool:
    """Whether the TLS handshake ends in time with HTTP/2 agreed on."""
    with trio.move_on_after(timeout) as scope:
        try:
            await stream.do_handshake()
        except (trio.BrokenResourceError, ssl.SSLError) as error:
            log.warning("TLS handshake failed: %s", error.__cause__ or error)
            return False
    if scope.cancelled_caught:
        log.warning("no TLS handshake within %g s", timeout)
        return False
    if stream.selected_alpn_protocol() not in ("h2", None):
        log.warning("TLS client does not speak HTTP/2")
        return False
    return True
