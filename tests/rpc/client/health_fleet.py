"""A fleet whose servers say how they are, or answer a watch as a test has written it down."""

from __future__ import annotations

from functools import partial
from typing import Any

import trio
from echo_pb2 import EchoReply
from echo_service import One
from fleet import Fleet

from trioraft._proto.grpc.health_pb2 import HealthCheckResponse
from trioraft.rpc import GRPCError, Limits, Status, serve
from trioraft.rpc.services import HealthService, Registry, ServingStatus
from trioraft.rpc.testing import MemoryListener


def config_for(service: str) -> dict[str, Any]:
    return {"healthCheckConfig": {"serviceName": service}}


CONFIG = config_for("shop")


def states_of(registry: Registry) -> list[str]:
    return [entry.state for entry in registry.subchannels.values()]


class HealthFleet(Fleet):
    """As `Fleet`; each server has a health service, where `shop` and `bank` are SERVING."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self.health: dict[str, HealthService] = {}
        #: What the next watches of a server do, one list each: a status to answer with, `"wait 5"`,
        #: a `Status` to end with. A list that ends otherwise ends with OK, one that ends with a
        #: status waits. When there are no more, the health service answers.
        self.scripts: dict[str, list[list[Any]]] = {}
        #: Watches so far, when they began, those that are open, and the metadata of the latest.
        self.watches: dict[str, int] = {}
        self.watched_at: dict[str, list[float]] = {}
        self.watching: dict[str, int] = {}
        self.metadata: dict[str, Any] = {}

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
            await stream.send_message(EchoReply(payload=name.encode()))

        health = self.health[name] = _Health(self, name)
        for service in ("shop", "bank"):
            health.set(service, ServingStatus.SERVING)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                serving = partial(serve, [One(answer), health], listeners=[listener], limits=limits)
                await nursery.start(serving)
                task_status.started(scope)


class _Health(HealthService):
    def __init__(self, fleet: HealthFleet, name: str) -> None:
        super().__init__()
        self._fleet, self._name = fleet, name

    async def Watch(self, stream: Any) -> None:
        fleet, name = self._fleet, self._name
        fleet.watches[name] = fleet.watches.get(name, 0) + 1
        fleet.watched_at.setdefault(name, []).append(fleet.now())
        fleet.metadata[name] = stream.metadata
        fleet.watching[name] = fleet.watching.get(name, 0) + 1
        scripts = fleet.scripts.get(name)
        try:
            if not scripts:
                await super().Watch(stream)
            else:
                await _play(scripts.pop(0), stream)
        finally:
            fleet.watching[name] -= 1


async def _play(script: list[Any], stream: Any) -> None:
    await stream.recv_message()
    for step in script:
        if isinstance(step, Status):
            raise GRPCError(step, "as it was written")
        if isinstance(step, str):
            await trio.sleep(float(step.removeprefix("wait ")))
        else:
            await stream.send_message(HealthCheckResponse(status=step))
    if isinstance(script[-1], int):
        await trio.sleep_forever()
