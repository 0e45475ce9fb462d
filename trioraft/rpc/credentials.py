"""Call credentials: metadata that says who is calling, asked for anew for every call.

    async def token(call: CallInfo) -> MetadataLike:
        return {"authorization": f"Bearer {await my_tokens.get(audience=call.service_url)}"}

    open_channel("example.com:443", ssl_context=client_tls(), credentials=token)

They are sent over TLS and within this machine only: a token that crosses a network in the clear
is everybody's. Nothing of them is ever logged here or put into an error. A channel without
credentials pays nothing for them: they are an interceptor, the innermost one.

Sources: gRPC's authentication guide; gRPC proposal A54 (which of their statuses reach the caller).
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from .metadata import MetadataLike, encode_metadata
from .status import GRPCError, Status

if TYPE_CHECKING:
    from .client.naming.target import Target
    from .interceptors.client import ClientCall, ClientInterceptor

__all__ = ["CachedToken", "CallCredentials", "CallInfo", "Token", "attach", "stays_here"]

log = logging.getLogger(__name__)

# Statuses that say something about the call itself, of which credentials know nothing (A54).
_OF_THE_CALL = frozenset(
    {
        Status.OK, Status.INVALID_ARGUMENT, Status.NOT_FOUND, Status.ALREADY_EXISTS,
        Status.FAILED_PRECONDITION, Status.ABORTED, Status.OUT_OF_RANGE, Status.DATA_LOSS,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CallInfo:
    """What credentials get to know of a call.

    Attributes:
        service_url: `https://HOST[:PORT]/package.Service`, the port left out if it is 443: the
            audience of a JWT.
        method: The method's name alone.
    """

    service_url: str
    method: str


#: Gives the metadata for one call. GRPCError that it raises is the call's status, unless that would
#: be one about the call itself (then INTERNAL); anything else makes the call UNAVAILABLE.
CallCredentials: TypeAlias = Callable[[CallInfo], Awaitable[MetadataLike]]


def attach(
    credentials: CallCredentials | Sequence[CallCredentials], authority: str, refusal: str = ""
) -> ClientInterceptor:
    """An interceptor that asks for metadata and adds it to the call's.

    Args:
        credentials: All of them are asked, in their order, within the call's deadline.
        authority: Of the channel, for `CallInfo.service_url`.
        refusal: Why they must not be sent; the call gets it as UNAUTHENTICATED.
    """

    @asynccontextmanager
    async def attached(call: ClientCall) -> AsyncIterator[None]:
        if refusal:
            raise GRPCError(Status.UNAUTHENTICATED, refusal)
        for key, value in await metadata_of(credentials, authority, call.method):
            call.metadata.add(key, value)
        yield

    return attached


async def metadata_of(
    credentials: CallCredentials | Sequence[CallCredentials], authority: str, path: str
) -> list[tuple[str, str | bytes]]:
    """What credentials give for a call of `/package.Service/Method`; arguments as of `attach`.

    Raises:
        GRPCError: See `CallCredentials`.
    """
    service, _, method = path.rpartition("/")
    info = CallInfo(f"https://{authority.removesuffix(':443')}{service}", method)
    every = [credentials] if callable(credentials) else credentials
    return [pair for one in every for pair in _pairs(await _ask(one, info))]


async def _ask(credentials: CallCredentials, info: CallInfo) -> MetadataLike:
    try:
        metadata = await credentials(info)
    except GRPCError as error:
        if error.status in _OF_THE_CALL:
            raise GRPCError(
                Status.INTERNAL, f"the credentials failed with {error.status.name}"
            ) from error
        raise
    except Exception as error:
        kind = type(error).__name__
        raise GRPCError(Status.UNAVAILABLE, f"the credentials failed: {kind}") from error
    try:
        encode_metadata(metadata)
    except (TypeError, ValueError):
        # Without its cause, whose text has the value.
        raise GRPCError(
            Status.INTERNAL, "the credentials gave metadata that is not valid"
        ) from None
    return metadata


def _pairs(metadata: MetadataLike) -> list[tuple[str, str | bytes]]:
    return list(metadata.items() if hasattr(metadata, "items") else metadata)


def stays_here(target: Target) -> bool:
    """Whether what is sent to the target stays on this machine: Unix sockets and loopback."""
    if target.name is not None:
        return target.name[0] == "localhost"
    return bool(target.addresses) and all(
        address.path or _is_loopback(address.host) for address in target.addresses
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False  # a name that a `dial` of the application's understands


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A token and for how many seconds from now on it is good. Its text is in no `repr`."""

    value: str
    lifetime: float


class CachedToken:
    """Credentials of one token that is kept, and fetched anew before it expires.

        credentials=CachedToken(fetch)

    One call at a time fetches. The others go on with the token they have as long as it is good,
    and wait for the new one after that. If fetching fails and the old token is still good, that is
    used, and the next attempt comes after a pause.

    fetch: gets a token; what it raises is what the calls that need it get.
    refresh_before: seconds before its end from which on a token is replaced.
    pause: seconds between two attempts while the old token is good.
    key, scheme: `authorization: Bearer TOKEN`.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Token]],
        *,
        refresh_before: float = 300.0,
        pause: float = 10.0,
        key: str = "authorization",
        scheme: str = "Bearer",
    ) -> None:
        self._fetch = fetch
        self._margin, self._pause = refresh_before, pause
        self._key, self._scheme = key, scheme
        self._metadata: MetadataLike = []
        self._good_until = self._refresh_at = float("-inf")
        self._fetching = trio.Lock()

    async def __call__(self, call: CallInfo) -> MetadataLike:
        """The token's metadata. Cancelled while it fetches, another call does that."""
        now = trio.current_time()
        if now >= self._refresh_at and (now >= self._good_until or not self._fetching.locked()):
            async with self._fetching:
                if trio.current_time() >= self._refresh_at:
                    await self._refresh()
        return self._metadata

    async def _refresh(self) -> None:
        try:
            token = await self._fetch()
        except Exception as error:
            now = trio.current_time()
            if now >= self._good_until:
                raise
            log.warning("no new token, the old one is used: %s", type(error).__name__)
            self._refresh_at = min(now + self._pause, self._good_until)
            return
        now = trio.current_time()
        self._metadata = [(self._key, f"{self._scheme} {token.value}")]
        self._good_until = now + token.lifetime
        # A token of a short life is not fetched for every call: half of it is used in any case.
        self._refresh_at = max(self._good_until - self._margin, now + token.lifetime / 2)

    def forget(self) -> None:
        """The token is no good (a server said UNAUTHENTICATED): the next call fetches another."""
        self._good_until = self._refresh_at = float("-inf")
