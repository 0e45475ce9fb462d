"""Retry throttling: no second attempts for a server that fails too many of the first.

Source: gRFC A6, "Throttling Retry Attempts and Hedged RPCs".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trioraft.rpc.client.config.fields import Fields

_MILLI = 1000
_MAX_TOKENS = 1000


@dataclass(frozen=True, slots=True)
class Throttling:
    """`retryThrottling` of a service config.

    Attributes:
        max_tokens: Thousandths of tokens there are at most, and at first.
        token_ratio: Thousandths of tokens that a success gives back.
    """

    max_tokens: int
    token_ratio: int


def read_throttling(value: Any) -> Throttling:
    """The setting from its JSON. Raises ValueError naming field and value.

    Decimals of `tokenRatio` beyond the third are cut off, as the specification says.
    """
    fields = Fields(value, "retryThrottling", {"maxTokens", "tokenRatio"})
    tokens = fields.positive("maxTokens")
    if tokens > _MAX_TOKENS:
        raise fields.wrong("maxTokens", f"a number above 0, at most {_MAX_TOKENS}")
    ratio = int(fields.positive("tokenRatio") * _MILLI + 1e-9)
    if ratio < 1:
        raise fields.wrong("tokenRatio", "a number of at least 0.001")
    return Throttling(int(tokens * _MILLI), ratio)


class Throttle:
    """The tokens of one channel, whose calls all take from them and give back to them.

    Failures are counted of attempts that a policy could repeat, successes of every call.
    """

    __slots__ = ("_max", "_ratio", "_tokens")

    def __init__(self, setting: Throttling) -> None:
        self._max = self._tokens = setting.max_tokens
        self._ratio = setting.token_ratio

    @property
    def allows(self) -> bool:
        """Whether further attempts may be made: more than half of the tokens are there."""
        return self._tokens > self._max // 2

    def failed(self) -> None:
        """An attempt has failed in a way that could be retried, or was told not to retry."""
        self._tokens = max(0, self._tokens - _MILLI)

    def succeeded(self) -> None:
        """A call was answered with OK."""
        self._tokens = min(self._max, self._tokens + self._ratio)
