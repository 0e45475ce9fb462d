"""A running server: its listeners, its connections, and how both come to an end."""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Sequence
from math import inf
from typing import Any

import trio

from trioraft.rpc.compression import Compression
from trioraft.rpc.keywords import check_keywords
from trioraft.rpc.limits import Limits
from trioraft.rpc.peer import Peer
from trioraft.rpc.registry import ListenSocket, ServerEntry, registered
from trioraft.rpc.tls.handshake import Unsecured, secure_server

from .connection import ServerConnection, TimedServerConnection
from .life.rules import ConnectionLifetime, ServerKeepalive
from .listening.accepting import accept_connections
from .listening.admission import Admission, Place
from .listening.listen import Opened, address_text, bound_address, close_all, open_endpoints
from .options import ServerOptions, endpoints_of
from .service import Service, has_unawaited, methods_of, tell_stopping
from .shared import Shared

__all__ = ["Server"]

log = logging.getLogger(__name__)

#: Seconds beyond the grace period after which whatever is left of a connection is cancelled: one
#: that is in its TLS handshake, or whose goodbye nobody reads.
LATE = 3.0
#: Seconds between two looks for calls that a stop waits for, if there are others (`Unawaited`).
LOOK = 0.01


class Server:
    """What `open_server` gives. For one Trio run; every method can be called from any task."""

    def __init__(self, services: Collection[Service], options: ServerOptions) -> None:
        check_keywords("a server", ServerOptions, options)
        limits = options.get("limits") or Limits()
        self._services = services
        self._endpoints = endpoints_of(options)
        self._more: Sequence[trio.abc.Listener[Any]] = options.get("listeners", ())
        self._registry = options.get("registry")
        self._entry: ServerEntry | None = None
        self._shared = Shared(
            methods=methods_of(
                services,
                limits.max_receive_message,
                options.get("interceptors", ()),
                options.get("unknown"),
            ),
            limits=limits,
            lifetime=options.get("lifetime") or ConnectionLifetime(),
            keepalive=options.get("keepalive") or ServerKeepalive(),
            rng=options.get("rng") or random.Random(),
            compression=Compression.of(options.get("compression")),
        )
        self._admission = Admission(limits)
        self._listening = trio.CancelScope()
        self._nursery: trio.Nursery | None = None  # once it serves
        self._stopping = False
        self._over = trio.Event()
        #: The bound addresses in the order of the endpoints: `(host, port)` for TCP, a path for a
        #: Unix socket, bytes with a leading zero for an abstract one, and listeners that were
        #: handed in themselves.
        self.addresses: list[Any] = []

    @property
    def connections(self) -> int:
        """Connections that are open, those in their handshake included."""
        return self._admission.count

    # ---- stopping ----------------------------------------------------------------------------

    async def stop(self, grace: float | None = None, *, notice: float = 0.0) -> None:
        """Stop in good order; returns when every connection has ended.

        1. Services that have a `stopping` method are told (`HealthService`: NOT_SERVING).
        2. For `notice` seconds everything goes on, so that load balancers can take heed.
        3. The listeners are closed: new connections are refused. Clients get GOAWAY: open calls go
           on, and new ones go elsewhere. Those of `Unawaited` services end with the last other one.
        4. After `grace` seconds more, calls that are still open end with UNAVAILABLE and their
           handlers are cancelled. None waits for as long as they take, 0 does not wait.

        Called again, also while it runs, the earlier end counts. Cancelling it undoes nothing: only
        the waiting ends, and in step 2 what would have followed.
        """
        self.announce_stop()
        if notice and self._shared.leaving is None:
            with trio.move_on_after(notice):
                await self._over.wait()
        self._leave(inf if grace is None else trio.current_time() + grace)
        await self._over.wait()

    def announce_stop(self) -> None:
        """The first step of `stop` alone; that is still to come. Never waits."""
        if not self._stopping:
            self._stopping = True
            tell_stopping(self._services)

    async def wait_stopped(self) -> None:
        """Wait until the server has stopped. Cancelling it does not stop it."""
        await self._over.wait()

    def _leave(self, cut_at: float) -> None:
        why = "the server is stopping"
        if self._shared.leaving is not None:
            cut_at = min(cut_at, self._shared.leaving[1])
        self._shared.leaving = why, cut_at
        self._listening.cancel()
        if self._nursery is not None:
            self._nursery.cancel_scope.deadline = cut_at + LATE
        for connection in list(self._shared.connections):
            connection.life.leave(why, cut_at)

    # ---- running -----------------------------------------------------------------------------

    async def run(
        self, *, task_status: trio.TaskStatus[list[Any]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Bind and serve, once, until stopped or cancelled. Raises OSError: cannot bind."""
        try:
            opened = await self._open()
            try:
                await self._serve(opened, task_status)
            finally:
                opened.remove_socket_files()
        finally:
            self._over.set()
            if self._registry is not None and self._entry is not None:
                self._registry.remove_server(self._entry)

    async def _open(self) -> Opened:
        try:
            opened = await open_endpoints(self._endpoints)
        except BaseException:
            await close_all(self._more)
            raise
        opened.listeners.extend(self._more)
        self.addresses = [bound_address(listener) for listener in opened.listeners]
        if self._registry is not None:
            listeners = [ListenSocket(item, address_text(item)) for item in self.addresses]
            name = ", ".join(listener.name for listener in listeners)
            self._entry = self._registry.add_server(name, listeners)
        return opened

    async def _serve(self, opened: Opened, task_status: trio.TaskStatus[list[Any]]) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._shared.overdue.run)
            nursery.start_soon(self._shared.timers.run)
            with self._listening:
                async with trio.open_nursery() as accepting:
                    for listener, address in zip(opened.listeners, self.addresses, strict=True):
                        accepting.start_soon(
                            accept_connections, listener, address_text(address), self._arrived
                        )
                    task_status.started(self.addresses)
            opened.remove_socket_files()
            if has_unawaited(self._services):
                nursery.start_soon(self._end_unawaited)
            if self._entry is not None:
                self._entry.stopping()
            await self._admission.wait_empty()
            nursery.cancel_scope.cancel()

    async def _end_unawaited(self) -> None:
        """Task of a server that stops: end the calls that it does not wait for after the others."""
        while any(connection.has_awaited() for connection in self._shared.connections):
            await trio.sleep(LOOK)
        self._leave(trio.current_time())

    def _arrived(self, stream: Any) -> None:
        assert self._nursery is not None
        plain = stream.stream if isinstance(stream, Unsecured) else stream
        place = self._admission.admit(plain)
        if place is None:
            self._nursery.start_soon(trio.aclose_forcefully, stream)
        else:
            self._nursery.start_soon(self._keep, stream, place)

    async def _keep(self, stream: Any, place: Place) -> None:
        """Task: one connection, from its handshake to its end."""
        try:
            await self._run(stream)
        except Exception:
            # Whatever is wrong with this connection must not reach the others.
            log.exception("a connection failed")
            await trio.aclose_forcefully(stream)
        finally:
            self._admission.leave(place)

    async def _run(self, stream: Any) -> None:
        timeout = self._shared.limits.handshake_timeout
        secured = await _shake_hands(stream, timeout)
        if secured is not None:
            kind = ServerConnection if self._entry is None else TimedServerConnection
            connection = kind(secured, self._shared)
            with registered(self._entry, connection):
                await connection.run(timeout)


async def _shake_hands(stream: Any, timeout: float) -> trio.abc.Stream | None:
    """The stream once HTTP/2 can begin; None, and a line in the log, if TLS fails."""
    if not isinstance(stream, Unsecured | trio.SSLStream):
        plain: trio.abc.Stream = stream
        return plain
    # Its name is asked for now: a closed socket has none.
    peer = str(Peer(stream.stream if isinstance(stream, Unsecured) else stream))
    with trio.move_on_after(timeout):
        try:
            return await secure_server(stream)
        except OSError as error:
            log.warning("client %s: %s", peer, error)
            return None
    log.warning("client %s: no TLS handshake within %g s", peer, timeout)
    return None
