"""Stopping in good order: leadership goes elsewhere, and calls under way end by themselves.

Leadership is handed over while the address is still open. The new leader must be able to connect
to this node: a read that waits here for what others have written, and a write that was proposed
just before, are answered from what the new leader sends. For the same reason the streams of peers
end last (`rpc.Unawaited`), and the groups run until the server has no call left.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import inf

import trio

from trioraft.node import Group
from trioraft.raft.errors import TrioraftError
from trioraft.raft.types import Role
from trioraft.rpc import Server

__all__ = ["stop_in_order"]

logger = logging.getLogger(__name__)

_HANDOVERS = 32  # at a time: an election each, and all of them share the disk
_SETTLE = 2.0  # seconds that a new leader may take to be heard of here
_LOOK = 0.01  # seconds between two looks for it


async def stop_in_order(
    server: Server, groups: Sequence[Group], grace: float | None, notice: float
) -> None:
    """See `Node.stop`. Cancelling undoes nothing: only the waiting ends, and what follows."""
    server.announce_stop()
    await trio.sleep(notice)
    until = inf if grace is None else trio.current_time() + grace
    with trio.CancelScope(deadline=until):
        limiter = trio.CapacityLimiter(_HANDOVERS)
        async with trio.open_nursery() as nursery:
            for group in groups:
                nursery.start_soon(_hand_over, group, limiter)
    await server.stop(None if grace is None else max(0.0, until - trio.current_time()))


async def _hand_over(group: Group, limiter: trio.CapacityLimiter) -> None:
    """Never lead this group again, and see that it has a leader that this node hears."""
    name = group.group_id.hex()
    async with limiter:
        try:
            # Paused, it also grants its vote to a voter of lower priority.
            await group.admin.pause_elections()
            if group.role is not Role.LEADER or len(group.configuration.voters) < 2:
                return
            heir = await group.transfer_leadership()
        except TrioraftError as error:
            logger.warning("group %s: stopping without handing over: %s", name, error)
            return
        logger.info("group %s: handed over to %s", name, heir)
        with trio.move_on_after(_SETTLE):
            while group.leader_id is None or group.applied_term != group.term:
                await trio.sleep(_LOOK)
