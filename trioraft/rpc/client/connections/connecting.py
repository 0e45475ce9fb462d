"""From what `open_channel` is given to what connects: where to, how, and which addresses."""

from __future__ import annotations

import random
from dataclasses import replace

import trio

from trioraft.rpc.client.balancing import balancing_of
from trioraft.rpc.client.naming.address import Address
from trioraft.rpc.client.naming.resolver import DnsResolver
from trioraft.rpc.client.naming.target import Target, named_target, parse_target
from trioraft.rpc.client.options import ChannelOptions
from trioraft.rpc.limits import Limits

from .connector import Connector
from .dialling import Dial, DialAddress, connect, over_tls
from .keepalive import Pace
from .subchannel import Shared

__all__ = ["connector_for", "target_of"]


def target_of(target: str, options: ChannelOptions) -> Target:
    """What `target` means, with the ways to get there that the options name.

    Raises:
        ValueError: It cannot be parsed; two ways that exclude each other.
    """
    resolver, authority = options.get("resolver"), options.get("authority")
    if options.get("dial") is not None:
        if options.get("dial_address") is not None or resolver is not None:
            raise ValueError("dial leads to one place: give dial_address with a resolver")
        parsed = Target(target, (Address(target),))
    elif resolver is not None:
        parsed = named_target(target)
    else:
        parsed = parse_target(target)
    return parsed if authority is None else replace(parsed, authority=authority)


def connector_for(
    target: str, parsed: Target, options: ChannelOptions, limits: Limits, rng: random.Random
) -> Connector:
    """The connections to the target, none of them made yet.

    Raises:
        ValueError: There is no such balancing.
    """
    dial, security = options.get("dial"), options.get("ssl_context")
    resolver, keepalive = options.get("resolver"), options.get("keepalive")
    open_stream = options.get("dial_address") or connect if dial is None else _anywhere(dial)
    if security is not None:
        open_stream = over_tls(open_stream, security, parsed.server_name)
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
        balancing=balancing_of(options.get("balancing", "pick_first")),
    )


def _anywhere(dial: Dial) -> DialAddress:
    """`dial` for a target that is one place."""

    async def dial_address(address: Address) -> trio.abc.Stream:
        return await dial()

    return dial_address
