"""The endpoints of a cluster: parsing a list of them, and which one to ask next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trioraft.raft.errors import ConfigurationError

__all__ = ["MAX_ENDPOINTS", "Endpoint", "EndpointRing", "parse_endpoints"]

#: Endpoints of one client; a consensus group has fewer members than that.
MAX_ENDPOINTS = 64


def parse_endpoints(endpoints: str | Iterable[str]) -> tuple[str, ...]:
    """A list of targets from `"host:port,host:port"` or from an iterable of targets.

    Any target of `trioraft.rpc.open_channel` is allowed (`unix:/path`, `dns:///...`), and an
    `http://` prefix, which etcd's users are used to, is ignored.

    Raises:
        ConfigurationError: the list is empty, too long, or an entry is not `host:port`.
    """
    parts = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
    targets = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not targets:
        raise ConfigurationError("endpoints: the list is empty; give host:port,host:port,...")
    if len(targets) > MAX_ENDPOINTS:
        raise ConfigurationError(
            f"endpoints: {len(targets)} of them; at most {MAX_ENDPOINTS} are allowed"
        )
    return tuple(_check(target) for target in targets)


def _check(target: str) -> str:
    if target.startswith("https://"):
        raise ConfigurationError(
            f"endpoints: {target!r} asks for TLS; hand in an ssl_context and give host:port"
        )
    target = target.removeprefix("http://").rstrip("/") if "//" in target else target
    if target.startswith(("unix:", "dns:", "ipv4:", "ipv6:")):
        return target
    host, colon, port = target.rpartition(":")
    if not (host and colon and port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ConfigurationError(
            f"endpoints: {target!r} is not host:port (as in 127.0.0.1:7101, or [::1]:7101)"
        )
    return target


@dataclass(slots=True)
class Endpoint:
    """One endpoint, its channel, and why it failed last (None: it answered last)."""

    target: str
    channel: Any
    failure: str | None = None


class EndpointRing:
    """The endpoints in the user's order, and the one that calls go to.

    Many tasks share it: `failed` moves on only if the endpoint it blames is still the current
    one, so a hundred calls that die with one connection move on by one, not by a hundred.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.all = tuple(endpoints)
        self._position = 0

    @property
    def current(self) -> Endpoint:
        return self.all[self._position]

    def failed(self, endpoint: Endpoint, reason: str) -> None:
        """Note why a call on `endpoint` failed, and move on to the next one."""
        endpoint.failure = reason
        if endpoint is self.current:
            self._position = (self._position + 1) % len(self.all)

    def prefer(self, endpoint: Endpoint) -> None:
        """Send the next calls to this one."""
        self._position = self.all.index(endpoint)

    def describe_failures(self) -> str:
        """What each endpoint answered last, for people."""
        return "; ".join(
            f"{endpoint.target}: {endpoint.failure or 'answered'}" for endpoint in self.all
        )
