"""From what `open_channel` is given to what connects: where to, how, and which addresses."""

from __future__ import annotations

import random
from dataclasses import replace

import trio

from trioraft.rpc.client.balancing import BalancingLike, balancing_of
from trioraft.rpc.client.naming.address import Address
from trioraft.rpc.client.naming.resolver import DnsResolver, Resolver
from trioraft.rpc.client.naming.target import Target, named_target, parse_target
from trioraft.rpc.limits import Limits
from trioraft.rpc.tls.contexts import ClientSecurity

from .connector import Connector
from .dialling import Dial, DialAddress, connect, over_tls
from .keepalive import Keepalive, Pace
from .subchannel import Shared

__all__ = ["connector_for", "target_of"]


def target_of(
    target: str,
    *,
    dial: Dial | None,
    dial_address: DialAddress | None,
    resolver: Resolver | None,
    authority: str | None,
) -> Target:
    """What `target` means, with these ways to get there.

    Raises:
        ValueError: It cannot be parsed; two ways that exclude each other.
    """
    if dial is not None and (dial_address is not None or resolver is not None):
        raise ValueError("dial leads to one place: give dial_address with a resolver")
    if dial is not None:
        parsed = Target(target, (Address(target),))
    elif resolver is not None:
        parsed = named_target(target)
    else:
        parsed = parse_target(target)
    return parsed if authority is None else replace(parsed, authority=authority)


def connector_for(
    target: str,
    parsed: Target,
    *,
    limits: Limits,
    rng: random.Random,
    ssl_context: ClientSecurity | None,
    dial: Dial | None,
    dial_address: DialAddress | None,
    resolver: Resolver | None,
    balancing: BalancingLike,
    keepalive: Keepalive | None,
) -> Connector:
    """The connections to the target, none of them made yet.

    Raises:
        ValueError: There is no such balancing.
    """
    open_stream = _anywhere(dial) if dial is not None else dial_address or connect
    if ssl_context is not None:
        open_stream = over_tls(open_stream, ssl_context, parsed.server_name)
    if resolver is None and parsed.name is not None:
        resolver = DnsResolver(*parsed.name, interval=limits.resolve_interval)
    shared = Shared(
        name=f"server {target}",
        dial=open_stream,
        limits=limits,
        rng=rng,
        pace=None if keepalive is None else Pace(keepalive),
    )
    return Connector(
        shared,
        addresses=parsed.addresses if resolver is None else (),
        resolver=resolver,
        balancing=balancing_of(balancing),
    )


def _anywhere(dial: Dial) -> DialAddress:
    """`dial` for a target that is one place."""

    async def dial_address(address: Address) -> trio.abc.Stream:
        return await dial()

    return dial_address
