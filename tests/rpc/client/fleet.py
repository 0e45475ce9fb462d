"""Servers in memory, each under an address of its own, and a resolver that a test speaks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import One

from trioraft.rpc import Address, Channel, GRPCError, Limits, Resolution, serve
from trioraft.rpc.client.naming.resolver import ResolverUpdates
from trioraft.rpc.orca import LoadReport, report_load
from trioraft.rpc.services import OrcaService
from trioraft.rpc.testing import MemoryListener


def addresses(names: str) -> tuple[Address, ...]:
    """One address per word."""
    return tuple(Address(name, 1) for name in names.split())


class Fleet:
    """The servers that are up; dialling another one is refused."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._began = trio.current_time()
        self._servers: dict[str, tuple[trio.CancelScope, MemoryListener]] = {}
        #: When and whom the channel has dialled.
        self.dialled: list[tuple[float, str]] = []
        #: Those that never answer.
        self.silent: list[str] = []
        #: The other ends of connections that a test has answered itself, by name.
        self.ends: dict[str, list[trio.abc.Stream]] = {}
        #: Set it, and calls wait for it in their handlers.
        self.gate: trio.Event | None = None
        #: Calls in handlers, by server.
        self.running: dict[str, int] = {}
        #: What servers say of their load with each call, by name.
        self.loads: dict[str, LoadReport] = {}
        #: What they say on streams of reports, and their interval; those not here have none.
        self.streamed: dict[str, LoadReport] = {}
        self.interval = 1.0
        #: What else they serve, by name.
        self.services: dict[str, list[Any]] = {}

    def now(self) -> float:
        """Seconds since the fleet began."""
        return round(trio.current_time() - self._began, 6)

    async def start(self, *names: str, limits: Limits | None = None) -> None:
        """Servers come up. Each answers every call with its name."""
        for name in names:
            listener = MemoryListener()
            scope = await self._nursery.start(partial(self._serve, name, listener, limits))
            self._servers[name] = (scope, listener)

    async def _serve(
        self,
        name: str,
        listener: MemoryListener,
        limits: Limits | None,
        task_status: trio.TaskStatus[trio.CancelScope],
    ) -> None:
        async def answer(stream: Any) -> None:
            await stream.recv_message()
            self.running[name] = self.running.get(name, 0) + 1
            try:
                if self.gate is not None:
                    await self.gate.wait()
            finally:
                self.running[name] -= 1
            if name in self.loads:
                report_load(self.loads[name], stream)
            await stream.send_message(EchoReply(payload=name.encode()))

        services: list[Any] = [One(answer), *self.services.get(name, ())]
        if name in self.streamed:
            services.append(OrcaService(lambda: self.streamed[name], min_interval=self.interval))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(serve, services, listeners=[listener], limits=limits))
                task_status.started(scope)

    async def stop(self, *names: str) -> None:
        """Servers go down, with their connections."""
        for name in names:
            scope, listener = self._servers.pop(name)
            scope.cancel()
            await listener.disconnect()
            await trio.testing.wait_all_tasks_blocked()

    async def disconnect(self, name: str) -> None:
        """Break the connections of a server that stays up."""
        await self._servers[name][1].disconnect()
        await trio.testing.wait_all_tasks_blocked()

    def server_ends(self, name: str) -> list[trio.abc.Stream]:
        """The server's ends of its connections."""
        return self._servers[name][1]._ends[1::2]

    async def dial(self, address: Address) -> trio.abc.Stream:
        """For `open_channel(dial_address=)`."""
        name = address.host
        self.dialled.append((self.now(), name))
        if name in self.silent:
            await trio.sleep_forever()
        if name not in self._servers:
            raise ConnectionRefusedError(f"nobody at {name}")
        return await self._servers[name][1].dial()


@asynccontextmanager
async def fleet_of(names: str, **options: Any) -> AsyncIterator[Fleet]:
    """A fleet with these servers up."""
    async with trio.open_nursery() as nursery:
        fleet = Fleet(nursery)
        await fleet.start(*names.split(), **options)
        yield fleet
        nursery.cancel_scope.cancel()


class Directory:
    """A resolver that says what a test tells it to."""

    def __init__(self, names: str | None = None) -> None:
        self.updates: ResolverUpdates | None = None
        self._first = names
        #: How often newer addresses were wished for.
        self.asked = 0
        #: How often it was started.
        self.runs = 0

    async def run(self, updates: ResolverUpdates) -> None:
        self.updates = updates
        self.runs += 1
        if self._first is not None:
            self.found(self._first)
        while True:
            await updates.wanted()
            self.asked += 1

    def found(self, names: str, config: Mapping[str, Any] | None = None) -> None:
        """These are the addresses now."""
        assert self.updates is not None
        self.updates.found(Resolution(addresses(names), config))

    def failed(self, error: Exception) -> None:
        """There is no finding out."""
        assert self.updates is not None
        self.updates.failed(error)


async def ask(channel: Channel, **options: Any) -> str:
    """Call once; which server has answered."""
    stub = EchoStub(channel)
    if "wait_for_ready" in options:
        stub = EchoStub(channel.with_options(wait_for_ready=options.pop("wait_for_ready")))
    reply = await stub.Unary(EchoRequest(), **options)
    name: str = reply.payload.decode()
    return name


async def refusal(channel: Channel, **options: Any) -> GRPCError:
    """Call once; how it fails."""
    try:
        await ask(channel, **options)
    except GRPCError as error:
        return error
    raise AssertionError("the call has succeeded")


async def asks(channel: Channel, times: int) -> Sequence[str]:
    """Call one after the other; which servers have answered."""
    return [await ask(channel) for _ in range(times)]
