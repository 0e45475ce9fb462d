"""A service config: what the owner of a service wants its clients to do, method by method.

Sources: service_config.md (grpc/grpc), service_config.proto (grpc-proto), gRFC A2 and A6.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trioraft.rpc.client.retrying.policy import (
    HedgingPolicy,
    RetryPolicy,
    read_hedging_policy,
    read_retry_policy,
)
from trioraft.rpc.client.retrying.throttle import Throttling, read_throttling

from .fields import Fields

__all__ = ["MethodConfig", "ServiceConfig", "parse_service_config"]

_TOP = frozenset(
    {
        "loadBalancingConfig",
        "loadBalancingPolicy",
        "methodConfig",
        "retryThrottling",
        "healthCheckConfig",
    }
)
_METHOD = frozenset(
    {
        "name",
        "timeout",
        "waitForReady",
        "maxRequestMessageBytes",
        "maxResponseMessageBytes",
        "retryPolicy",
        "hedgingPolicy",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodConfig:
    """What a config says of one method; None is "nothing".

    Attributes:
        timeout: Seconds a call may take; the call's own deadline counts if it is earlier.
        wait_for_ready: What calls do that do not say themselves.
        max_request_bytes: Largest message sent; the channel's limit counts if it is lower.
        max_response_bytes: Largest message accepted, likewise.
        policy: How calls are made again: not at all, by retries or by hedging.
    """

    timeout: float | None = None
    wait_for_ready: bool | None = None
    max_request_bytes: int | None = None
    max_response_bytes: int | None = None
    policy: RetryPolicy | HedgingPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """A config that has passed every check.

    Attributes:
        methods: By `service/method`, by `service/` for the rest of a service, and by `/` for
            everything else.
        throttling: When calls are no longer made again, or None.
        load_balancing: `loadBalancingConfig` as it came, or one made of the older
            `loadBalancingPolicy`; None if there is neither.
        health_check_service: What servers are asked for the health of, by balancers that do so
            (`healthCheckConfig`); `""` is a server as a whole, None is not to ask.
    """

    methods: Mapping[str, MethodConfig] = field(default_factory=dict)
    throttling: Throttling | None = None
    load_balancing: list[Any] | None = None
    health_check_service: str | None = None

    def method(self, path: str) -> MethodConfig | None:
        """What holds for `/package.Service/Method`: the most specific entry, or None."""
        service, _, method = path.removeprefix("/").rpartition("/")
        for key in (f"{service}/{method}", f"{service}/", "/"):
            found = self.methods.get(key)
            if found is not None:
                return found
        return None


def parse_service_config(config: str | Mapping[str, Any]) -> ServiceConfig:
    """Check a config, JSON text or what it decodes to, all of it at once.

    Values that will not do refuse the whole config. Fields that are not known here are ignored,
    with a warning in the log.

    Raises:
        ValueError: It is no JSON, or a field has a value that it cannot have; says which.
    """
    if isinstance(config, str):
        try:
            config = json.loads(config)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"service config: not JSON: {error}") from None
    fields = Fields(config, "", _TOP)
    throttling = None
    if fields.has("retryThrottling"):
        throttling = read_throttling(fields.raw("retryThrottling"))
    health = None
    if fields.has("healthCheckConfig"):
        checks = Fields(fields.raw("healthCheckConfig"), "healthCheckConfig", {"serviceName"})
        health = checks.text("serviceName")
        if health is not None and not _encodable(health):
            raise checks.wrong("serviceName", "text that UTF-8 can encode")
    return ServiceConfig(
        methods=_methods(fields),
        throttling=throttling,
        load_balancing=_load_balancing(fields),
        health_check_service=health,
    )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False  # half of a surrogate pair, which JSON can spell
    return True


def _methods(fields: Fields) -> dict[str, MethodConfig]:
    methods: dict[str, MethodConfig] = {}
    for index, item in enumerate(fields.items("methodConfig")):
        entry = Fields(item, f"methodConfig[{index}]", _METHOD)
        method = _method(entry)
        for number, name in enumerate(entry.items("name")):
            key = _key(name, f"{entry.path('name')}[{number}]")
            if key in methods:
                raise ValueError(f"service config: {entry.path('name')}[{number}] repeats {key!r}")
            methods[key] = method
    return methods


def _key(name: Any, where: str) -> str:
    fields = Fields(name, where, {"service", "method"})
    service, method = fields.text("service") or "", fields.text("method") or ""
    if method and not service:
        raise fields.wrong("service", f"given, as the method {method!r} is")
    return f"{service}/{method}"


def _method(fields: Fields) -> MethodConfig:
    policy: RetryPolicy | HedgingPolicy | None = None
    if fields.has("retryPolicy"):
        policy = read_retry_policy(fields.raw("retryPolicy"), fields.path("retryPolicy"))
    if fields.has("hedgingPolicy"):
        if policy is not None:
            raise fields.wrong("hedgingPolicy", "absent where there is a retryPolicy")
        policy = read_hedging_policy(fields.raw("hedgingPolicy"), fields.path("hedgingPolicy"))
    return MethodConfig(
        timeout=fields.duration("timeout"),
        wait_for_ready=fields.flag("waitForReady"),
        max_request_bytes=fields.size("maxRequestMessageBytes"),
        max_response_bytes=fields.size("maxResponseMessageBytes"),
        policy=policy,
    )


def _load_balancing(fields: Fields) -> list[Any] | None:
    """Its form; the names and settings of policies are the channel's to judge."""
    if not fields.has("loadBalancingConfig"):
        name = fields.text("loadBalancingPolicy")
        return [{name.lower(): {}}] if name else None
    policies = fields.items("loadBalancingConfig")
    for index, policy in enumerate(policies):
        if not isinstance(policy, Mapping) or len(policy) != 1:
            raise ValueError(
                f"service config: loadBalancingConfig[{index}] must be an object with the name of "
                f"one policy, not {policy!r}"
            )
    return policies
