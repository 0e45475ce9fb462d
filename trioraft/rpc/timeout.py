"""The `grpc-timeout` header: an ASCII integer of at most eight digits and a unit.

Source: gRPC over HTTP/2, "Timeout" (PROTOCOL-HTTP2.md).
"""

from __future__ import annotations

import math

import trio

_NANOSECONDS = {
    b"H": 3_600_000_000_000,
    b"M": 60_000_000_000,
    b"S": 1_000_000_000,
    b"m": 1_000_000,
    b"u": 1_000,
    b"n": 1,
}
_FINEST_FIRST = (b"n", b"u", b"m", b"S", b"M", b"H")
_MAX_VALUE = 99_999_999


def encode_timeout(seconds: float) -> bytes:
    """Encode a duration with the finest unit that fits eight digits, rounded up.

    Rounding up keeps the server's deadline from passing before the caller's own.

    Args:
        seconds: Time left; negative counts as zero, and more than 99,999,999 hours is cut to it.
    """
    nanoseconds = math.ceil(min(max(seconds, 0.0), 4e11) * 1e9)
    for unit in _FINEST_FIRST:
        value = -(-nanoseconds // _NANOSECONDS[unit])
        if value <= _MAX_VALUE:
            return b"%d%b" % (value, unit)
    return b"%dH" % _MAX_VALUE


def decode_timeout(value: bytes) -> float:
    """Decode a header value into seconds.

    Raises:
        ValueError: The value is not one to eight digits and a unit of `HMSmun`.
    """
    digits, unit = value[:-1], value[-1:]
    scale = _NANOSECONDS.get(unit)
    if scale is None or not digits.isdigit() or len(digits) > 8:
        raise ValueError(f"invalid grpc-timeout: {value!r}")
    return int(digits) * scale / 1e9


class Deadline:
    """A fixed point on Trio's clock by which a call must end.

    Any float but NaN will do: infinity is no deadline, and one that has passed ends a call before
    anything is sent.
    """

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        """at: absolute time, as `trio.current_time()` counts it. Raises ValueError if it is NaN."""
        if at != at:
            raise ValueError("a deadline must not be NaN")
        #: Absolute time as `trio.current_time()` counts it.
        self.at: float = at

    @classmethod
    def from_timeout(cls, seconds: float) -> Deadline:
        """The point `seconds` from now. Raises ValueError if that is NaN."""
        return cls(trio.current_time() + seconds)

    def time_remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.at - trio.current_time())

    def __repr__(self) -> str:
        return f"Deadline({self.at!r})"
