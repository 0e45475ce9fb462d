"""Targets, as gRPC writes them.

`host:port`, `dns:host:port`, `dns:///host:port`, `ipv4:1.2.3.4:port[,...]`,
`ipv6:[::1]:port[,...]`, `unix:path`, `unix:///absolute/path`, `unix-abstract:name`.
Source: gRPC Name Resolution (naming.md).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from .address import Address, authority

__all__ = ["Target", "named_target", "parse_target"]

_DEFAULT_PORT = 443


@dataclass(frozen=True, slots=True)
class Target:
    """Where a channel connects to.

    Attributes:
        authority: What goes into `:authority`.
        addresses: Where to connect to, if the target says so itself.
        name: Else the host and the port whose addresses DNS has.
    """

    authority: str
    addresses: tuple[Address, ...] = ()
    name: tuple[str, int] | None = None

    @property
    def server_name(self) -> str:
        """The name that a TLS certificate must have."""
        return _split(self.authority, self.authority)[0]


def parse_target(target: str) -> Target:
    """Parse a target. Without a port it is 443.

    Raises:
        TypeError: It is no string.
        ValueError: It is none of the forms above; the message says what is wrong.
    """
    untyped: object = target
    if not isinstance(untyped, str):
        raise TypeError(f"target {target!r}: expected a string, such as 'host:port'")
    scheme, colon, rest = target.partition(":")
    if colon and scheme in ("unix", "unix-abstract"):
        return Target("localhost", (Address(path=_socket(scheme, rest, target)),))
    if colon and scheme in ("ipv4", "ipv6"):
        addresses = tuple(_literal(part, scheme, target) for part in rest.split(","))
        return Target(str(addresses[0]), addresses)
    if colon and scheme == "dns":
        if rest.startswith("//"):
            # dns://resolver/name: the resolver is the system's, so only an empty one is ours.
            resolver, _, rest = rest[2:].partition("/")
            if resolver:
                raise ValueError(f"target {target!r}: no DNS server can be chosen here")
    elif "://" in target:
        raise ValueError(
            f"target {target!r}: unknown scheme {scheme!r}; write host:port, and give "
            "ssl_context=client_tls() if it is for TLS"
        )
    else:
        rest = target
    host, port = _split(rest, target)
    if _is_literal(host):
        return Target(authority(host, port), (Address(host, port),))
    return Target(authority(host, port), name=(host, port))


def named_target(target: str) -> Target:
    """The target of a channel that finds its addresses elsewhere: any name, or a URI's path."""
    _, slashes, rest = target.partition("://")
    return Target(rest.partition("/")[2] or rest if slashes else target)


def _socket(scheme: str, rest: str, target: str) -> str:
    if scheme == "unix-abstract":
        if not rest or "\0" in rest:
            raise ValueError(f"target {target!r}: expected unix-abstract:name, without NUL")
        return "\0" + rest
    path = rest[2:] if rest.startswith("///") else rest
    if not path or (rest.startswith("//") and not rest.startswith("///")) or "\0" in path:
        raise ValueError(f"target {target!r}: expected unix:path or unix:///path")
    return path


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _literal(part: str, scheme: str, target: str) -> Address:
    host, port = _split(part, target)
    kind = ipaddress.IPv4Address if scheme == "ipv4" else ipaddress.IPv6Address
    try:
        kind(host)
    except ValueError:
        raise ValueError(f"target {target!r}: {host!r} is not an {scheme} address") from None
    return Address(host, port)


def _split(address: str, target: str) -> tuple[str, int]:
    if address.startswith("["):
        host, bracket, tail = address[1:].partition("]")
        port = tail.removeprefix(":")
        if not bracket or (tail and not tail.startswith(":")):
            raise ValueError(f"target {target!r}: expected [address]:port")
    elif address.count(":") > 1:
        host, port = address, ""  # a bare IPv6 address
    else:
        host, _, port = address.partition(":")
    if not host:
        raise ValueError(f"target {target!r} has no host")
    if not port:
        return host, _DEFAULT_PORT
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(f"target {target!r}: {port!r} is not a port")
    return host, int(port)
