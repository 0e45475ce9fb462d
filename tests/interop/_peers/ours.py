"""Our own client and server in the shape of the foreign ones."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from trioraft.rpc import Channel, serve

from .certificates import server_context
from .children import CALLS_TIMEOUT
from .grpclib_style import Exchange
from .model import Call, Outcome
from .service import InteropService


class OurCaller:
    """Calls made by our client; a `Caller`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def run(self, *calls: Call) -> list[Outcome]:
        """Make the calls at the same time, on one connection."""
        outcomes: dict[int, Outcome] = {}

        async def one(index: int) -> None:
            outcomes[index] = await self._perform(calls[index])

        async with trio.open_nursery() as watched:
            watched.start_soon(fail_late)
            async with trio.open_nursery() as nursery:
                for index in range(len(calls)):
                    nursery.start_soon(one, index)
            watched.cancel_scope.cancel()
        return [outcomes[index] for index in range(len(calls))]

    async def _perform(self, call: Call) -> Outcome:
        start = time.monotonic()
        exchange = Exchange(self._channel, call, trio.sleep)
        code, message = "CANCELLED", "cancelled by the caller's scope"
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                if call.cancel_after is not None:
                    nursery.start_soon(cancel_after, call.cancel_after, scope)
                code, message = await exchange.run()
                nursery.cancel_scope.cancel()
        return exchange.outcome(code, message, time.monotonic() - start)


async def cancel_after(seconds: float, scope: trio.CancelScope) -> None:
    """Not a deadline of the scope: that would be sent as the call's deadline."""
    await trio.sleep(seconds)
    scope.cancel()


async def fail_late() -> None:
    """End a test whose calls hang; not by a deadline, for the same reason."""
    await trio.sleep(CALLS_TIMEOUT)
    raise AssertionError(f"calls hang: not done after {CALLS_TIMEOUT} s")


@dataclass
class OurServer:
    """A running server of ours."""

    target: str
    listener: CountingListener
    scope: trio.CancelScope


class CountingListener(trio.abc.Listener[trio.SocketStream]):
    """Counts the connections that a listener accepts."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self.accepted = 0
        self.first = trio.Event()

    async def accept(self) -> trio.SocketStream:
        """Accept one connection."""
        stream = await self._listener.accept()
        self.accepted += 1
        self.first.set()
        return stream

    async def aclose(self) -> None:
        """Stop listening."""
        await self._listener.aclose()


@asynccontextmanager
async def our_server() -> AsyncIterator[OurServer]:
    """Our server on TCP, in this process."""
    async with trio.open_nursery() as nursery:
        (plain,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener = CountingListener(plain)
        scope = trio.CancelScope()

        async def run(task_status: trio.TaskStatus[object]) -> None:
            with scope:
                await serve([make_service()], listeners=[listener], task_status=task_status)

        await nursery.start(run)
        yield OurServer(f"127.0.0.1:{plain.socket.getsockname()[1]}", listener, scope)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def our_tls_server(directory: Path) -> AsyncIterator[str]:
    """Our server on TCP with TLS; gives the target."""
    async with trio.open_nursery() as nursery:
        start = partial(serve, [make_service()], port=0, ssl_context=server_context(directory))
        ((_, port),) = await nursery.start(start)
        yield f"127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def our_unix_server(path: Path) -> AsyncIterator[str]:
    """Our server on a Unix socket; gives the target."""
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, [make_service()], uds=str(path)))
        yield f"unix:{path}"
        nursery.cancel_scope.cancel()


def make_service() -> InteropService:
    """The service on Trio."""
    return InteropService(trio.sleep, trio.Event)
