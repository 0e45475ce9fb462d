"""Health checking: what load balancers and orchestrators ask a server for.

Source: gRPC health checking protocol (health-checking.md, grpc.health.v1 with List).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from trio.lowlevel import ParkingLot

from trioraft._proto.grpc.health_grpc import HealthBase
from trioraft._proto.grpc.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)
from trioraft.rpc.status import GRPCError, Status

if TYPE_CHECKING:
    from grpclib.server import Stream

__all__ = ["HealthService", "ServingStatus"]

#: Longest name of a service that is looked up, in characters.
MAX_NAME = 1024
#: Most services in an answer to List, as grpc-go has it.
MAX_LIST = 100


class ServingStatus(IntEnum):
    """The statuses of the protocol; `SERVICE_UNKNOWN` is for Watch to answer, never to be set."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class _Entry:
    """A name that has a status or is watched."""

    __slots__ = ("changed", "status", "watchers")

    def __init__(self) -> None:
        self.status = ServingStatus.SERVICE_UNKNOWN
        self.changed = ParkingLot()
        self.watchers = 0


class HealthService(HealthBase):
    """Serves `grpc.health.v1.Health`. Whoever knows how things are calls `set`.

    The name `""` stands for the server as a whole; it is SERVING from the start. Other names are
    full names of services, `package.Service`, or whatever clients and operator agree on.

    A watcher gets the status at once and each time it is a different one. One that reads slowly
    misses what has changed back meanwhile, never the newest; what waits for it is bounded by
    `Limits.max_queued_bytes`.

    max_watchers: calls to Watch at once; one more gets RESOURCE_EXHAUSTED.
    """

    def __init__(self, *, max_watchers: int = 1000) -> None:
        if max_watchers < 0:
            raise ValueError("max_watchers must not be negative")
        self._entries: dict[str, _Entry] = {}
        self._watchers = 0
        self._max_watchers = max_watchers
        self._before: dict[str, ServingStatus] | None = None  # while shut down: what `resume` sets
        self._stopping = False
        self.set("", ServingStatus.SERVING)

    # ---- for the application -----------------------------------------------------------------

    def set(self, service: str, status: ServingStatus) -> None:
        """The status of a service from now on. Never waits.

        After `shutdown` it takes effect with `resume`. Raises ValueError for SERVICE_UNKNOWN
        (see `remove`) and for a name of more than 1,024 characters, which no client could ask for.
        """
        status = ServingStatus(status)
        if status is ServingStatus.SERVICE_UNKNOWN:
            raise ValueError("SERVICE_UNKNOWN is no status to set: remove the service instead")
        if len(service) > MAX_NAME:
            raise ValueError(f"the name of a service may have {MAX_NAME} characters")
        if self._before is not None:
            self._before[service] = status
            status = ServingStatus.NOT_SERVING
        self._change(service, status)

    def remove(self, service: str) -> None:
        """Forget a service: watchers get SERVICE_UNKNOWN. Does nothing for an unknown one."""
        if self._before is not None:
            self._before.pop(service, None)
        entry = self._entries.get(service)
        if entry is not None:
            self._change(service, ServingStatus.SERVICE_UNKNOWN)
            self._tidy(service, entry)

    def get(self, service: str = "") -> ServingStatus:
        """The status that clients get; SERVICE_UNKNOWN if there is none."""
        entry = self._entries.get(service)
        return ServingStatus.SERVICE_UNKNOWN if entry is None else entry.status

    def shutdown(self) -> None:
        """Everything is NOT_SERVING, so that clients go elsewhere before the server ends."""
        if self._before is None:
            self._before = self._known()
            for service in self._before:
                self._change(service, ServingStatus.NOT_SERVING)

    def stopping(self) -> None:
        """`shutdown`, and watchers that have been told are sent away with UNAVAILABLE.

        A server calls it when it begins to stop: calls that never end would keep it from that.
        """
        self._stopping = True
        self.shutdown()
        for entry in self._entries.values():
            entry.changed.unpark_all()

    def resume(self) -> None:
        """Undo `shutdown` and `stopping`: every service has what was last set for it."""
        self._stopping = False
        before, self._before = self._before, None
        for service, status in (before or {}).items():
            self._change(service, status)

    # ---- calls -------------------------------------------------------------------------------

    async def Check(self, stream: Stream[HealthCheckRequest, HealthCheckResponse]) -> None:
        """The status of one service; NOT_FOUND for an unknown one."""
        request = await stream.recv_message()
        assert request is not None  # a unary call without a request never gets here
        status = self.get(request.service)
        if status is ServingStatus.SERVICE_UNKNOWN:
            raise GRPCError(Status.NOT_FOUND, "unknown service")
        await stream.send_message(_reply(status))

    async def List(self, stream: Stream[HealthListRequest, HealthListResponse]) -> None:
        """The status of every service; RESOURCE_EXHAUSTED for more than a hundred."""
        await stream.recv_message()
        known = self._known()
        if len(known) > MAX_LIST:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED,
                f"{len(known)} services are over the limit of {MAX_LIST}: check them by name",
            )
        await stream.send_message(
            HealthListResponse(statuses={name: _reply(status) for name, status in known.items()})
        )

    async def Watch(self, stream: Stream[HealthCheckRequest, HealthCheckResponse]) -> None:
        """The status of one service, now and whenever it changes, until the caller goes."""
        request = await stream.recv_message()
        assert request is not None
        service = request.service
        if len(service) > MAX_NAME:
            raise GRPCError(
                Status.INVALID_ARGUMENT, f"the name of a service may have {MAX_NAME} characters"
            )
        if self._watchers >= self._max_watchers:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, f"{self._watchers} calls watch already")
        self._watchers += 1
        entry = self._entries.setdefault(service, _Entry())
        entry.watchers += 1
        try:
            while True:
                told = entry.status
                await stream.send_message(_reply(told))
                while entry.status is told:
                    if self._stopping:
                        raise GRPCError(Status.UNAVAILABLE, "the server is stopping")
                    await entry.changed.park()
        finally:
            self._watchers -= 1
            entry.watchers -= 1
            self._tidy(service, entry)

    # ---- inside ------------------------------------------------------------------------------

    def _known(self) -> dict[str, ServingStatus]:
        unknown = ServingStatus.SERVICE_UNKNOWN
        return {
            name: entry.status
            for name, entry in self._entries.items()
            if entry.status is not unknown
        }

    def _change(self, service: str, status: ServingStatus) -> None:
        entry = self._entries.setdefault(service, _Entry())
        if entry.status is not status:
            entry.status = status
            entry.changed.unpark_all()

    def _tidy(self, service: str, entry: _Entry) -> None:
        """Drop a name that nobody watches and nobody has set."""
        if not entry.watchers and entry.status is ServingStatus.SERVICE_UNKNOWN:
            del self._entries[service]


def _reply(status: ServingStatus) -> HealthCheckResponse:
    return HealthCheckResponse(status=HealthCheckResponse.ServingStatus.Name(status))
