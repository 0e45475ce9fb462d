"""Authentication of callers by bearer tokens (RFC 6750 §2.1)."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from hashlib import sha256
from typing import TypeAlias, TypeVar

from trioraft.rpc.status import GRPCError, Status

from .server import ServerCall, ServerInterceptor

__all__ = ["HEALTH", "Verify", "authenticate", "identity", "identity_as", "static_tokens"]

T = TypeVar("T")

#: What is served without a token unless said otherwise: probes have none.
HEALTH = ("grpc.health.v1.Health",)

#: Tells whose token it is, None for a token that is not accepted.
Verify: TypeAlias = Callable[[str, ServerCall], Awaitable[object | None]]

_identity: ContextVar[object | None] = ContextVar("trioraft.rpc.identity", default=None)


def authenticate(verify: Verify, *, exempt: Collection[str] = HEALTH) -> ServerInterceptor:
    """A server's interceptor that lets in calls with an accepted token, UNAUTHENTICATED else.

    `verify(token, call)` gives the caller's identity, any object but None, which the handler and
    the interceptors inside of this one get by `identity`. It may wait: the call's deadline and
    the caller's cancellation hold for it. GRPCError raised there is the call's status; with
    anything else that it raises the call fails, too.

    Args:
        exempt: Services (`package.Service`) and methods (`/package.Service/Method`) that need no
            token. A token that comes all the same is not looked at.
    """
    free = frozenset(exempt)

    @asynccontextmanager
    async def authenticated(call: ServerCall) -> AsyncIterator[None]:
        if call.method not in free and call.service not in free:
            who = await verify(_token(call), call)
            if who is None:
                raise GRPCError(Status.UNAUTHENTICATED, "the token is not accepted")
            _identity.set(who)  # in the context of this call alone
        yield

    return authenticated


def _token(call: ServerCall) -> str:
    """The one token of the call's metadata.

    Raises:
        GRPCError: UNAUTHENTICATED: there is none, or it is not clear which.
    """
    values = call.metadata.getall("authorization", [])
    if len(values) != 1:
        problem = "more than one authorization" if values else "a token is needed"
        raise GRPCError(Status.UNAUTHENTICATED, problem)
    scheme, _, token = str(values[0]).partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token:
        raise GRPCError(Status.UNAUTHENTICATED, "a bearer token is needed")
    return token


def identity() -> object | None:
    """Whom `authenticate` has let in: in a handler's task and those of its nurseries.

    None in a call that needs no token, and outside of calls.
    """
    return _identity.get()


def identity_as(kind: type[T]) -> T:
    """As `identity`, of a known type.

    Raises:
        GRPCError: UNAUTHENTICATED: there is none, or it is of another type.
    """
    who = _identity.get()
    if not isinstance(who, kind):
        raise GRPCError(Status.UNAUTHENTICATED, "a token is needed")
    return who


def static_tokens(tokens: Mapping[str, object]) -> Verify:
    """A `verify` for a fixed set: identity by token.

    Keeps no token, only digests, and compares all of them in constant time, so that the time it
    takes says nothing of the tokens.
    """
    known = [(sha256(token.encode()).digest(), who) for token, who in tokens.items()]

    async def verify(token: str, call: ServerCall) -> object | None:
        digest = sha256(token.encode()).digest()
        found = None
        for other, who in known:
            if hmac.compare_digest(digest, other):
                found = who
        return found

    return verify
