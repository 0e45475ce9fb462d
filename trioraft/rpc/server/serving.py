"""Serving: `open_server` for a server to hold on to, `serve` for one that is simply there."""

from __future__ import annotations

from collections.abc import Collection
from types import TracebackType
from typing import Any, Unpack

import trio

from trioraft.rpc.running import need_trio

from .options import ServerOptions
from .server import Server
from .service import Service

__all__ = ["ServerBlock", "open_server", "serve"]


def open_server(services: Collection[Service], **options: Unpack[ServerOptions]) -> ServerBlock:
    """A server for the length of an `async with` block, whose value is the `Server`.

        addresses = ["tcp:0.0.0.0:50051", "unix:/run/greeter.sock"]
        async with open_server([Greeter()], listen=addresses) as server:
            ...
            await server.stop(grace=30)

    Args:
        services: Service objects, as grpclib's or our own plugin generates their bases.
        options: See `ServerOptions`.

    The block begins when every address is bound. Leaving it, or cancelling, ends the server at
    once: GOAWAY to every client, handlers cancelled, sockets closed; `Server.stop` is the friendly
    way. If the server fails, the block is cancelled and the failure comes out of it.

    Raises:
        OSError: An address cannot be bound; the message names it.
        TypeError: There is no such option.
        ValueError: Two services have the same method, an address cannot be read, or an encoding is
            not known.
    """
    return ServerBlock(Server(services, options))


async def serve(
    services: Collection[Service],
    *,
    stop: trio.Event | None = None,
    grace: float | None = None,
    notice: float = 0.0,
    task_status: trio.TaskStatus[list[Any]] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[ServerOptions],
) -> None:
    """Serve gRPC until `stop` is set, or until cancelled.

    Args:
        services: Service objects, as grpclib's or our own plugin generates their bases.
        stop: Setting it stops the server in good order; then `serve` returns.
        grace, notice: For that; see `Server.stop`.
        options: See `ServerOptions`; `host`, `port` and `listen` say where.

    Started with `nursery.start`, it returns the list of bound addresses: `(host, port)` for TCP, a
    path for a Unix socket, the listener itself for one that was handed in.

    Cancelling it sends GOAWAY to every client, cancels the handlers and closes the sockets.

    Raises:
        OSError, TypeError, ValueError: As `open_server`.
    """
    need_trio("serve")
    server = Server(services, options)
    if stop is None:
        await server.run(task_status=task_status)
        return
    async with trio.open_nursery() as nursery:
        task_status.started(await nursery.start(server.run))
        await stop.wait()
        await server.stop(grace, notice=notice)


class ServerBlock:
    """The block of `open_server`."""

    def __init__(self, server: Server) -> None:
        need_trio("open_server")
        self._server = server
        self._manager = trio.open_nursery()

    async def __aenter__(self) -> Server:
        self._nursery = await self._manager.__aenter__()
        try:
            await self._nursery.start(self._server.run)
        except BaseException:
            await self._end()
            raise
        return self._server

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        # The block's own exception must come out as it is: the nursery does not get to see it. The
        # shield is against a cancellation while we close, which takes no longer than
        # `Limits.close_timeout` and the handlers' own cleaning up.
        self._nursery.cancel_scope.shield = True
        self._nursery.cancel_scope.cancel()
        await self._manager.__aexit__(None, None, None)
