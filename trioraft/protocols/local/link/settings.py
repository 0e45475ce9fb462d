"""How a host's links behave in time."""

from __future__ import annotations

from dataclasses import dataclass

from trioraft.raft.errors import ConfigurationError

__all__ = ["LinkSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """Times of the links of a host, in seconds.

    gather: what follows another message this closely waits to travel together.
    interval: a link with nothing to say sends an empty message this often.
    timeout: a link on which nothing arrives for this long is lost, on either end.
    reconnect_min, reconnect_max: pause before a lost link is opened again; it doubles.
    """

    gather: float = 0.005
    interval: float = 0.5
    timeout: float = 2.0
    reconnect_min: float = 0.05
    reconnect_max: float = 1.0

    def __post_init__(self) -> None:
        """Raises ConfigurationError naming the field."""
        if not 0 <= self.gather < self.interval:
            raise ConfigurationError(f"gather={self.gather}: must be from 0 to below interval")
        if not 2 * self.interval <= self.timeout:
            raise ConfigurationError(f"timeout={self.timeout}: must be at least twice interval")
        if not 0 < self.reconnect_min <= self.reconnect_max:
            raise ConfigurationError(
                f"reconnect_min={self.reconnect_min}: must be above 0 and at most reconnect_max"
            )
