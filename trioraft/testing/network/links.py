"""How one direction between two hosts behaves, and what can block it."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Block", "LinkSettings"]


@dataclass(frozen=True)
class LinkSettings:
    """How one direction between two hosts behaves.

    latency_min, latency_max: seconds; each segment's delay is drawn evenly between them, and
        bytes of one connection never overtake each other.
    bandwidth: bytes per second of one connection; None is unlimited.
    buffer_size: bytes of one connection that may be sent and not yet read; `send_all` waits
        above it.
    split: probability that a segment is cut in two at a random byte, which arrive separately.
    """

    latency_min: float = 0.0002
    latency_max: float = 0.002
    bandwidth: float | None = None
    buffer_size: int = 256 * 1024
    split: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.latency_min <= self.latency_max < math.inf:
            raise ValueError(f"latencies must be 0 <= min <= max, got {self}")
        if self.bandwidth is not None and self.bandwidth <= 0:
            raise ValueError(f"bandwidth must be positive, got {self.bandwidth}")
        if self.buffer_size < 1:
            raise ValueError(f"buffer_size must be at least 1, got {self.buffer_size}")
        if not 0.0 <= self.split <= 1.0:
            raise ValueError(f"split is a probability, got {self.split}")


@dataclass(frozen=True)
class Block:
    """Why nothing passes on one direction of a link, and what that does to what tries.

    lose: bytes that would arrive are lost for good, so that their connection is reset once
        the link heals; otherwise they wait, as TCP retransmits.
    refuse: connection attempts are refused at once; otherwise they wait.
    """

    lose: bool
    refuse: bool
