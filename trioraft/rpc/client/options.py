"""What a channel can be told: the keyword arguments of `open_channel`, in one place."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from trioraft.rpc.compression import CompressionLike
from trioraft.rpc.credentials import CallCredentials
from trioraft.rpc.interceptors.client import ClientInterceptor
from trioraft.rpc.limits import Limits
from trioraft.rpc.registry import Registry
from trioraft.rpc.tls.contexts import ClientSecurity

from .balancing import BalancingLike
from .connections.dialling import Dial, DialAddress
from .connections.keepalive import Keepalive
from .naming.resolver import Resolver

__all__ = ["ChannelOptions"]


class ChannelOptions(TypedDict, total=False):
    """Keyword arguments; each may be left out.

    Attributes:
        ssl_context: TLS to the server, by `client_tls` or a context of your own. Default: none.
        limits: Bounds; see `Limits`.
        dial: Opens the byte stream instead of the operating system's network.
        dial_address: The same, for each address that the target stands for.
        resolver: Finds the addresses, instead of DNS.
        balancing: Which address a call goes to: `"pick_first"`, the default, `"round_robin"`,
            `"weighted_round_robin"`, or a policy.
        wait_for_ready: Whether calls that do not say so themselves wait while there is no
            connection and none to be had, instead of failing with UNAVAILABLE. Default False.
        keepalive: PINGs on silent connections; None, the default, for none.
        authority: `:authority` of the calls and the name in the server's certificate, if not what
            the target says.
        rng: Source of the jitter between attempts to connect, and of the balancer's order.
        registry: Where the channel is shown while it is open; see `services.ChannelzService`.
        inherit_deadlines: Tell servers the deadlines of Trio scopes around a call, those of a
            handler that makes the call included. If not, only a call's own deadline is sent.
            Default True.
        compression: Encoding of the messages sent, by name, or `Compression` settings.
        interceptors: What runs around every call, the first one outermost; see `ClientCall`.
        service_config: How calls are made, method by method: timeouts, retries, hedging (see
            docs/rpc-retries.md), as JSON or what it decodes to. One that a resolver finds takes
            its place.
        retries: Whether the retry and hedging policies of a service config are followed. Default
            True.
        health_checks: Whether the health checks of a service config are made (see
            docs/rpc-channels.md). Default True.
        credentials: Asked for metadata for every call; see `rpc.credentials`.
        insecure_credentials: Send them without TLS, too, and not only within this machine.
            Default False.
    """

    ssl_context: ClientSecurity | None
    limits: Limits | None
    dial: Dial | None
    dial_address: DialAddress | None
    resolver: Resolver | None
    balancing: BalancingLike
    wait_for_ready: bool
    keepalive: Keepalive | None
    authority: str | None
    rng: random.Random | None
    registry: Registry | None
    inherit_deadlines: bool
    compression: CompressionLike
    interceptors: Sequence[ClientInterceptor]
    service_config: str | Mapping[str, Any] | None
    retries: bool
    health_checks: bool
    credentials: CallCredentials | Sequence[CallCredentials]
    insecure_credentials: bool
