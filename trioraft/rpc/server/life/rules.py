"""How long a server keeps a connection, and how it finds out that one is dead or a nuisance.

Sources: gRPC proposals A9 (server-side connection management) and A8 (client-side keepalive, which
says what servers enforce), with grpc-go's defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan

__all__ = ["ConnectionLifetime", "ServerKeepalive"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionLifetime:
    """When connections of a server end though nothing is wrong, for `serve(lifetime=)`.

    They end as at a graceful stop: GOAWAY, then the calls that are open go on, and new ones make
    the client connect anew, to where the load balancer or the DNS now sends it. Seconds on Trio's
    clock.

    Attributes:
        max_age: Age at which a connection ends, 10% more or less by chance, so that connections
            made together do not end together.
        max_age_grace: How long open calls may go on then, and after `max_idle`; past it they end
            with UNAVAILABLE.
        max_idle: Time without an open call after which a connection ends. It may be exceeded by a
            quarter.
    """

    max_age: float = inf
    max_age_grace: float = inf
    max_idle: float = inf

    def __post_init__(self) -> None:
        _check(self, positive=("max_age", "max_idle"), others=("max_age_grace",))


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerKeepalive:
    """PING in both directions, for `serve(keepalive=)`. Seconds on Trio's clock.

    Attributes:
        time: Silence after which the server pings its client; it may be exceeded by a quarter.
        timeout: How long the client may be silent then before the connection counts as dead.
        min_interval: How often clients may ping while they have calls. A ping that comes sooner
            (by more than 1%) is a strike, unless the server has sent them something since the last.
        permit_without_calls: Whether that goes for clients without calls, too. If not, theirs must
            be two hours apart.
        max_strikes: With one more, the client gets GOAWAY (ENHANCE_YOUR_CALM, "too_many_pings"),
            which makes gRPC clients ping half as often, and the connection is closed.
    """

    time: float = 2 * 3600.0
    timeout: float = 20.0
    min_interval: float = 300.0
    permit_without_calls: bool = False
    max_strikes: int = 2

    def __post_init__(self) -> None:
        _check(self, positive=("time", "timeout"), others=("min_interval", "max_strikes"))


def _check(rules: object, *, positive: tuple[str, ...], others: tuple[str, ...]) -> None:
    for name in positive:
        if not getattr(rules, name, nan) > 0:
            raise ValueError(f"{name} must be positive")
    for name in others:
        if not getattr(rules, name, nan) >= 0:
            raise ValueError(f"{name} must not be negative")
