"""Retrying: after an attempt that failed, a pause and another one.

Source: gRFC A6, "Retry Policy Capabilities".
"""

from __future__ import annotations

from typing import TypeVar

from trioraft.rpc.status import GRPCError

from .policy import RetryPolicy, read_pushback
from .repeated import RepeatedStream

S = TypeVar("S")
R = TypeVar("R")


class RetriedStream(RepeatedStream[S, R]):
    """A call with a `retryPolicy`."""

    _retries = 0  # since the server has last said when to come back

    def _begin(self) -> None:
        """The first attempt is like any other's: others follow only if it fails."""

    def _another(self, error: GRPCError, pushback: bytes | None) -> bool:
        policy, throttle = self._plan.policy, self._plan.shared.throttle
        assert isinstance(policy, RetryPolicy)
        wait = read_pushback(pushback)
        stop = wait is not None and wait < 0
        if not stop and error.status not in policy.retryable:
            return False
        if throttle is not None:
            throttle.failed()
        if stop or (throttle is not None and not throttle.allows):
            return False
        if self._made >= policy.max_attempts:
            return False
        if wait is None:
            wait = policy.backoff(self._retries, self._channel.rng)
            self._retries += 1
        else:
            self._retries = 0
        self._start_attempt(wait)
        return True
