"""Addresses for nodes on loopback."""

from __future__ import annotations

import random
import socket

from trioraft.raft.errors import TrioraftError

__all__ = ["free_addresses"]

#: Below the range from which the system takes ports for outgoing connections (32768 and up on
#: Linux): one of those could sit on a node's port while the node is away.
_PORTS = range(15_000, 32_000)

_ATTEMPTS = 10_000


def free_addresses(count: int) -> list[str]:
    """`127.0.0.1:port` of so many different ports that nobody listens on right now."""
    rng = random.Random()
    addresses: list[str] = []
    for _ in range(_ATTEMPTS):
        address = ("127.0.0.1", rng.choice(_PORTS))
        try:
            socket.create_server(address).close()
        except OSError:
            continue
        text = f"{address[0]}:{address[1]}"
        if text not in addresses:
            addresses.append(text)
        if len(addresses) == count:
            return addresses
    raise TrioraftError(f"no {count} free ports on 127.0.0.1. Stop some of its servers.")
