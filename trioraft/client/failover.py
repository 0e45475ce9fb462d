"""Calls that survive the loss of a node: try, move on, back off, until a deadline.

A call is tried on the current endpoint; after a failure that another endpoint or a later
moment may not have, on the next one. After a whole round of failures the client pauses, with
a growing pause and jitter. A leader is followed where one is known: it spares a hop.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import trio

from trioraft.raft.errors import (
    GroupStoppedError,
    NoQuorumError,
    NotLeaderError,
    OverloadedError,
    ProposalDroppedError,
    TrioraftError,
)
from trioraft.rpc import GRPCError, Status

from .endpoints import Endpoint, EndpointRing
from .status import leader_among

__all__ = ["Failover", "RetryPolicy", "describe_failure", "is_retriable"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Statuses that another endpoint, or the same one a little later, may not give again.
_RETRIABLE_STATUSES = frozenset({Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.ABORTED})
_RETRIABLE_ERRORS = (
    NotLeaderError,
    NoQuorumError,
    ProposalDroppedError,
    OverloadedError,
    GroupStoppedError,  # on that node; the others may go on
)


def is_retriable(error: GRPCError | TrioraftError) -> bool:
    """Whether a call that failed like this may succeed elsewhere or later."""
    if isinstance(error, GRPCError):
        return error.status in _RETRIABLE_STATUSES
    return isinstance(error, _RETRIABLE_ERRORS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Times in seconds on Trio's clock.

    Attributes:
        timeout: A call as a whole, with all its attempts.
        attempt_timeout: One attempt: bounds what a node costs that takes calls and never
            answers (stopped, or cut off from its peers).
        pause_min, pause_max: The pause after a round in which no endpoint could answer. It
            doubles from round to round; up to half of it is taken off at random.
        follow_interval: How often the client looks which endpoint leads. 0: never.
    """

    timeout: float = 10.0
    attempt_timeout: float = 3.0
    pause_min: float = 0.02
    pause_max: float = 0.5
    follow_interval: float = 2.0


class Failover:
    """Runs calls on the endpoints of a cluster. Any number of tasks may share it."""

    def __init__(
        self,
        ring: EndpointRing,
        policy: RetryPolicy,
        rng: random.Random,
        *,
        group_id: bytes = b"",
    ) -> None:
        """`group_id` is the group whose leader to follow; empty: the only one of the nodes."""
        self.ring = ring
        self._group_id = group_id
        self.policy = policy
        self._rng = rng
        self._look_again = 0.0

    async def call(
        self,
        attempt: Callable[[Any, float], Awaitable[_T]],
        *,
        timeout: float | None = None,
        repeat: bool = True,
    ) -> _T:
        """Run `attempt(channel, seconds)` until it succeeds.

        Args:
            timeout: Seconds for all attempts together, if not the policy's.
            repeat: False for a call that must not be carried out twice and cannot be
                recognized: it is tried once.

        Raises:
            NoQuorumError: no endpoint could answer in time; says what each one answered.
            GRPCError, TrioraftError: what no retry would change, or with `repeat=False`
                whatever the one attempt raised.
        """
        policy = self.policy
        deadline = trio.current_time() + (policy.timeout if timeout is None else timeout)
        pause = policy.pause_min
        while True:
            for _ in self.ring.all:
                await self._follow_leader()
                endpoint = self.ring.current
                left = deadline - trio.current_time()
                if left <= 0:
                    raise self._no_answer(timeout)
                try:
                    result = await attempt(endpoint.channel, min(left, policy.attempt_timeout))
                except (GRPCError, TrioraftError) as error:
                    if not repeat or not is_retriable(error):
                        raise
                    self._move_on(endpoint, error)
                else:
                    endpoint.failure = None
                    return result
            left = max(0.0, deadline - trio.current_time())
            await trio.sleep(min(left, pause * self._rng.uniform(0.5, 1.0)))
            pause = min(pause * 2, policy.pause_max)

    def _move_on(self, endpoint: Endpoint, error: GRPCError | TrioraftError) -> None:
        reason = describe_failure(endpoint.target, error)
        logger.debug("%s: %s", endpoint.target, reason)
        self.ring.failed(endpoint, reason)
        # The leader may have changed: look soon, yet not once per failed call.
        soon = trio.current_time() + self.policy.pause_max / 2
        self._look_again = min(self._look_again, soon)

    async def _follow_leader(self) -> None:
        """Prefer the endpoint that leads, if one says so. One task looks, the others go on."""
        now = trio.current_time()
        if not self.policy.follow_interval or now < self._look_again or len(self.ring.all) == 1:
            return
        self._look_again = now + self.policy.follow_interval
        leader = await leader_among(self.ring.all, self._group_id, timeout=self.policy.pause_max)
        if leader is not None:
            self.ring.prefer(leader)
        else:
            self._look_again = min(self._look_again, trio.current_time() + self.policy.pause_max)

    def _no_answer(self, timeout: float | None) -> NoQuorumError:
        seconds = self.policy.timeout if timeout is None else timeout
        return NoQuorumError(
            f"no endpoint could answer within {seconds:g} s ({self.ring.describe_failures()}). "
            "Check that a majority of the nodes runs and that they reach each other."
        )


def describe_failure(target: str, error: GRPCError | TrioraftError) -> str:
    """The error's text, without the target where the reader sees that already."""
    if isinstance(error, GRPCError):
        return (error.message or error.status.name).removeprefix(f"server {target}: ")
    return str(error)
