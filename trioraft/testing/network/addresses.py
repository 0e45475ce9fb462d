"""Addresses, "host:port", and the error of those where nobody listens."""

from __future__ import annotations

import errno

__all__ = ["refused", "split_address"]


def split_address(address: str) -> tuple[str, int]:
    """Take "host:port" apart. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) <= 65535):
        raise ValueError(f"an address is 'host:port' with a port up to 65535, got {address!r}")
    return host, int(port)


def refused(address: str) -> ConnectionRefusedError:
    """The error of a dial that nobody answers."""
    return ConnectionRefusedError(errno.ECONNREFUSED, f"connection to {address} refused")
