"""The TLS handshake of either end, and HTTP/2 agreed on in it (ALPN, RFC 7301; RFC 9113 §3.2)."""

from __future__ import annotations

import ssl
from typing import Any

import trio

from .contexts import ALPN, ClientSecurity, ServerSecurity, context_of, requires_alpn

__all__ = ["SecureListener", "secure_client", "secure_server"]


class SecureListener(trio.abc.Listener["Unsecured"]):
    """Accepts streams that have their handshake before them; `secure_server` does it."""

    def __init__(self, inner: trio.abc.Listener[Any], security: ServerSecurity) -> None:
        self.inner = inner
        self._security = security
        if isinstance(security, ssl.SSLContext):
            security.set_alpn_protocols([ALPN])

    async def accept(self) -> Unsecured:
        return Unsecured(await self.inner.accept(), self._security)

    async def aclose(self) -> None:
        await self.inner.aclose()


class Unsecured(trio.abc.AsyncResource):
    """A connection before its handshake."""

    def __init__(self, stream: trio.abc.Stream, security: ServerSecurity) -> None:
        self.stream = stream
        self.security = security

    async def aclose(self) -> None:
        await self.stream.aclose()


async def secure_server(
    stream: Unsecured | trio.SSLStream[trio.abc.Stream],
) -> trio.SSLStream[trio.abc.Stream]:
    """Run the server's part. Closes the stream on failure or cancellation.

    Raises:
        OSError: The handshake failed, or the client did not agree to HTTP/2.
    """
    if isinstance(stream, trio.SSLStream):  # from a `trio.SSLListener` of the application's
        return await _shake(stream, "client", alpn=True)
    security = stream.security
    secured = trio.SSLStream(
        stream.stream, context_of(security), server_side=True, https_compatible=True
    )
    return await _shake(secured, "client", alpn=requires_alpn(security))


async def secure_client(
    stream: trio.abc.Stream, security: ClientSecurity, server_name: str
) -> trio.SSLStream[trio.abc.Stream]:
    """Run the client's part over `stream`. Closes it on failure or cancellation.

    Args:
        server_name: The name that the certificate must have.

    Raises:
        OSError: The handshake failed, or the server did not agree to HTTP/2.
    """
    if isinstance(security, ssl.SSLContext):
        security.set_alpn_protocols([ALPN])
    secured = trio.SSLStream(
        stream, context_of(security), server_hostname=server_name, https_compatible=True
    )
    return await _shake(secured, "server", alpn=requires_alpn(security))


async def _shake(
    secured: trio.SSLStream[trio.abc.Stream], peer: str, *, alpn: bool
) -> trio.SSLStream[trio.abc.Stream]:
    try:
        await secured.do_handshake()
        agreed = secured.selected_alpn_protocol()
        if agreed != ALPN and (alpn or agreed is not None):
            raise OSError(f"the {peer} did not agree to HTTP/2 (ALPN {ALPN})")
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(secured.transport_stream)
        cause = error.__cause__ or error
        plain = isinstance(cause, ssl.SSLEOFError) or "WRONG_VERSION_NUMBER" in str(cause)
        hint = f"; does the {peer} use TLS?" if plain else ""
        raise OSError(f"TLS handshake failed: {cause}{hint}") from error
    except BaseException:
        await trio.aclose_forcefully(secured.transport_stream)
        raise
    return secured
