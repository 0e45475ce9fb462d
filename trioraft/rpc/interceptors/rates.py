"""Limits on the rate of calls and on how many run at once, by caller, method or anything else."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeAlias

import trio
from google.protobuf.duration_pb2 import Duration

from trioraft.rpc.details import AnyMessage, rich_error
from trioraft.rpc.status import GRPCError, Status

from .onion import Outcome
from .plain import End, plain
from .server import ServerCall, ServerInterceptor
from .tokens import identity

__all__ = ["Key", "by_identity", "by_method", "by_peer", "limit_concurrency", "limit_rate"]

#: What has a limit of its own.
Key: TypeAlias = Callable[[ServerCall], Hashable]


def by_method(call: ServerCall) -> Hashable:
    """Each method has a limit of its own."""
    return call.method


def by_peer(call: ServerCall) -> Hashable:
    """Each address has: the host, however many connections it has. Unix sockets are one."""
    address = call.peer.addr()
    return address[0] if isinstance(address, tuple) else None


def by_identity(call: ServerCall) -> Hashable:
    """Each identity has, which `authenticate` outside of this has found; it must be hashable."""
    return identity()


_LONGEST = 2**31 - 1  # milliseconds that can be told


class _Bucket:
    """Tokens that come back with time, up to a number (a token bucket)."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self._tokens = tokens
        self._at = now

    def level(self, rate: float, burst: float, now: float) -> float:
        """How many tokens are in it now."""
        self._tokens = min(burst, self._tokens + (now - self._at) * rate)
        self._at = now
        return self._tokens

    def take(self) -> None:
        """Take one."""
        self._tokens -= 1


class _Buckets:
    """A bucket for each key, as many as may be; the least recently used is dropped if it is full.

    While none can be dropped, because all of them hold somebody back, new keys share one.
    """

    def __init__(self, rate: float, burst: float, max_keys: int) -> None:
        self._rate, self._burst, self._max_keys = rate, burst, max_keys
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()
        self._shared = _Bucket(burst, -math.inf)

    def take(self, key: Hashable, now: float) -> float:
        """Take a token; returns 0.0, or the seconds until there is one."""
        bucket = self._find(key, now)
        level = bucket.level(self._rate, self._burst, now)
        if level < 1:
            return (1 - level) / self._rate
        bucket.take()
        return 0.0

    def _find(self, key: Hashable, now: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is not None:
            self._buckets.move_to_end(key)
            return bucket
        if len(self._buckets) >= self._max_keys:
            oldest, idle = next(iter(self._buckets.items()))
            if idle.level(self._rate, self._burst, now) < self._burst:
                return self._shared
            del self._buckets[oldest]
        bucket = self._buckets[key] = _Bucket(self._burst, now)
        return bucket


def limit_rate(
    rate: float, *, burst: float | None = None, key: Key = by_peer, max_keys: int = 10_000
) -> ServerInterceptor:
    """A server's interceptor that lets in so many calls per second; RESOURCE_EXHAUSTED else.

    A refused caller is told when to come back: by `google.rpc.RetryInfo` in the status details
    and by `grpc-retry-pushback-ms` in the trailers (gRFC A6), which retry policies follow.

    Args:
        rate: Calls per second, on Trio's clock.
        burst: Calls at once after a pause, at least 1; default: one second's, at least 1.
        key: What has a limit of its own: `by_peer`, `by_method`, `by_identity`, any function of
            the call; `lambda call: None` is one limit for all.
        max_keys: Keys that are remembered. Past it, those that were idle long enough to have all
            their tokens are forgotten; if there are none, new keys share one limit.

    Raises:
        ValueError: `rate` is not positive, `burst` or `max_keys` is below 1.
    """
    tokens = max(1.0, rate) if burst is None else burst
    if not (0 < rate < math.inf and 1 <= tokens < math.inf and max_keys >= 1):
        raise ValueError("rate must be positive, burst and max_keys at least 1")
    buckets = _Buckets(rate, tokens, max_keys)

    def limited(call: ServerCall) -> None:
        wait = buckets.take(key(call), trio.current_time())
        if wait:
            raise _come_back(call, wait)

    return plain(limited)


def _come_back(call: ServerCall, seconds: float) -> GRPCError:
    milliseconds = min(math.ceil(seconds * 1000), _LONGEST)
    call.stream.push_back(milliseconds / 1000)
    delay = Duration()
    delay.FromMilliseconds(milliseconds)
    encoded = delay.SerializeToString()
    info = AnyMessage(
        type_url="type.googleapis.com/google.rpc.RetryInfo",
        value=b"\x0a%c%b" % (len(encoded), encoded),  # field 1, retry_delay
    )
    return rich_error(
        Status.RESOURCE_EXHAUSTED, f"too many calls: come back in {milliseconds} ms", [info]
    )


def limit_concurrency(limit: int, *, key: Key = by_method) -> ServerInterceptor:
    """A server's interceptor that lets `limit` calls run at once; RESOURCE_EXHAUSTED beyond.

    Nothing waits: a caller that is refused knows at once. `Limits.max_concurrent_streams` bounds
    what one connection has besides.

    Args:
        key: What has a limit of its own, as for `limit_rate`.

    Raises:
        ValueError: `limit` is below 1.
    """
    if limit < 1:
        raise ValueError("limit must be at least 1")
    running: Counter[Hashable] = Counter()

    def limited(call: ServerCall) -> End:
        mine = key(call)
        if running[mine] >= limit:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, f"{limit} calls are running already")
        running[mine] += 1

        def end(outcome: Outcome) -> None:
            running[mine] -= 1
            if not running[mine]:
                del running[mine]

        return end

    return plain(limited)
