"""Addresses: the single places that a target stands for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Address", "authority", "interleaved"]


@dataclass(frozen=True, slots=True)
class Address:
    """One place to connect to: a host and a port, or a Unix socket.

    Attributes:
        host: An IPv4 or IPv6 address; with a `dial_address` of your own, any name.
        port: 1 to 65535.
        path: The Unix socket, with a leading NUL if its name is abstract; empty for TCP.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path.startswith("\0"):
            return f"unix-abstract:{self.path[1:]}"
        return f"unix:{self.path}" if self.path else authority(self.host, self.port)

    @property
    def family(self) -> str:
        """`unix`, `ipv6`, or `ipv4` for everything else."""
        if self.path:
            return "unix"
        return "ipv6" if ":" in self.host else "ipv4"


def authority(host: str, port: int) -> str:
    """`host:port`, with IPv6 addresses in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def interleaved(addresses: Iterable[Address]) -> list[Address]:
    """Each address once, families taking turns, the first one's family first.

    So that a family that does not work costs one connection attempt delay, not one per address.
    Source: RFC 8305 §4 with a First Address Family Count of 1, as gRPC proposal A61 has it.
    """
    families: dict[str, list[Address]] = {}
    for address in dict.fromkeys(addresses):
        families.setdefault(address.family, []).append(address)
    queues = list(families.values())
    longest = max((len(queue) for queue in queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
