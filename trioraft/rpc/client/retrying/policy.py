"""When a call may be made again, and after how long: retry and hedging policies as values.

Source: gRFC A6 (client retries), as of 2024-08: backoff with a jitter of 20% either way, where
earlier versions of it drew from 0 to the whole backoff.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

from trioraft.rpc.client.config.fields import Fields
from trioraft.rpc.status import Status

#: The most attempts a call is made in, whatever its policy says (gRFC A6, "Limits on Retries").
MAX_ATTEMPTS = 5

_JITTER = 0.2
_PUSHBACK = re.compile(rb"0|[1-9][0-9]{0,9}")
_MAX_PUSHBACK = 2**31 - 1
_RETRY_FIELDS = frozenset(
    {"maxAttempts", "initialBackoff", "maxBackoff", "backoffMultiplier", "retryableStatusCodes"}
)
_HEDGING_FIELDS = frozenset({"maxAttempts", "hedgingDelay", "nonFatalStatusCodes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`retryPolicy`: one attempt after the other.

    Attributes:
        max_attempts: Attempts in all, the first one included: 2 to 5.
        initial_backoff: Seconds before the second attempt, give or take 20%.
        max_backoff: Most seconds before any attempt, give or take 20%.
        multiplier: What the backoff grows by with each attempt.
        retryable: Statuses after which there may be another attempt.
    """

    max_attempts: int
    initial_backoff: float
    max_backoff: float
    multiplier: float
    retryable: frozenset[Status]

    def backoff(self, retries: int, rng: random.Random) -> float:
        """Seconds to wait after `retries` retries (since the server's last pushback)."""
        # Bounded before it is raised: a power of a float may overflow.
        grown = self.initial_backoff
        for _ in range(retries):
            grown = min(grown * self.multiplier, self.max_backoff)
        return min(grown, self.max_backoff) * rng.uniform(1 - _JITTER, 1 + _JITTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgingPolicy:
    """`hedgingPolicy`: several attempts at once; the first that is answered counts.

    Attributes:
        max_attempts: Attempts in all, the first one included: 2 to 5.
        delay: Seconds from one attempt to the next.
        non_fatal: Statuses that do not end the call while another attempt may still succeed.
    """

    max_attempts: int
    delay: float
    non_fatal: frozenset[Status]


def read_pushback(value: bytes | None) -> float | None:
    """Seconds that the server wants the next attempt to wait; None if it does not say.

    Negative: there shall be no other attempt, which anything but a number says, too.

    Args:
        value: Of `grpc-retry-pushback-ms`; several of them joined by commas.
    """
    if value is None:
        return None
    if not _PUSHBACK.fullmatch(value) or int(value) > _MAX_PUSHBACK:
        return -1.0
    return int(value) / 1000


def read_retry_policy(value: Any, where: str) -> RetryPolicy:
    """A policy from its JSON. Raises ValueError naming field and value."""
    fields = Fields(value, where, _RETRY_FIELDS)
    policy = RetryPolicy(
        max_attempts=fields.attempts("maxAttempts", MAX_ATTEMPTS),
        initial_backoff=fields.positive_duration("initialBackoff"),
        max_backoff=fields.positive_duration("maxBackoff"),
        multiplier=fields.positive("backoffMultiplier"),
        retryable=fields.codes("retryableStatusCodes"),
    )
    if not policy.retryable:
        raise fields.wrong("retryableStatusCodes", "a list of at least one status code")
    return policy


def read_hedging_policy(value: Any, where: str) -> HedgingPolicy:
    """A policy from its JSON. Raises ValueError naming field and value."""
    fields = Fields(value, where, _HEDGING_FIELDS)
    return HedgingPolicy(
        max_attempts=fields.attempts("maxAttempts", MAX_ATTEMPTS),
        delay=fields.duration("hedgingDelay") or 0.0,
        non_fatal=fields.codes("nonFatalStatusCodes"),
    )
