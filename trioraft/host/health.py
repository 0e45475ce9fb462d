"""Health of a node: SERVING while its group can be expected to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import trio

from trioraft.raft.types import NodeId
from trioraft.rpc import Service
from trioraft.rpc.services import HealthService, ServingStatus

__all__ = ["Watched", "follow_health", "health_names"]


class Watched(Protocol):
    """What is needed of a node; `Node` is one."""

    @property
    def leader(self) -> NodeId | None: ...

    @property
    def removed(self) -> bool: ...

    @property
    def failure(self) -> BaseException | None: ...

    async def wait_change(self) -> None: ...


async def follow_health(
    node: Watched,
    health: HealthService,
    names: Sequence[str] = ("",),
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keep the statuses of `names` true to a node; returns when its group has stopped.

    SERVING while a leader of the current term is known, so that writes and linearizable reads can
    be answered here or forwarded; NOT_SERVING during elections, without a quorum, on a node that
    was removed or has not joined yet, and after its group has failed. Started with
    `nursery.start`, the first status is set when that returns. Cancelling leaves the last one.
    """
    while True:
        well = node.failure is None and node.leader is not None and not node.removed
        for name in names:
            health.set(name, ServingStatus.SERVING if well else ServingStatus.NOT_SERVING)
        task_status.started()
        task_status = trio.TASK_STATUS_IGNORED
        if node.failure is not None:
            return
        await node.wait_change()


def health_names(services: Sequence[Service]) -> list[str]:
    """The names under which services are asked for, the server as a whole (`""`) first."""
    paths = (path for service in services for path in service.__mapping__())
    return ["", *dict.fromkeys(path.split("/")[1] for path in paths)]
