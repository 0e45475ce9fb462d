"""What the two ends of a TLS connection are told: certificate, key, whom to trust.

    await serve([Greeter()], ssl_context=server_tls("server.pem", "server.key"), host="", port=443)
    async with open_channel("example.com:443", ssl_context=client_tls()) as channel: ...

TLS 1.2 at least, with forward secrecy and without compression and renegotiation (RFC 9113 §9.2 asks
for it, Python's defaults and OpenSSL give it), ALPN `h2` on both ends.
"""

from __future__ import annotations

import os
import ssl
from typing import TypeAlias

from .reloading import Reloading, StrPath

__all__ = ["ClientSecurity", "ClientTls", "ServerSecurity", "ServerTls", "client_tls", "server_tls"]

#: Seconds between two looks at the files of certificates.
RELOAD_INTERVAL = 10.0

ALPN = "h2"


class ServerTls(Reloading):
    """What `server_tls` gives, for `serve(ssl_context=)` and `Tcp(tls=)`."""

    #: Whether clients that agree on no protocol are turned away.
    require_alpn = True


class ClientTls(Reloading):
    """What `client_tls` gives, for `open_channel(ssl_context=)`."""

    require_alpn = True


#: A context of the application's own is taken, too: it is not reloaded, and ALPN is set on it.
ServerSecurity: TypeAlias = ssl.SSLContext | ServerTls
ClientSecurity: TypeAlias = ssl.SSLContext | ClientTls


def server_tls(
    cert: StrPath,
    key: StrPath | None = None,
    *,
    client_ca: StrPath | None = None,
    require_client: bool = True,
    password: str | None = None,
    require_alpn: bool = True,
    reload_interval: float = RELOAD_INTERVAL,
) -> ServerTls:
    """TLS for a server.

    Args:
        cert: PEM file of the certificate, followed by those between it and the root.
        key: PEM file of the private key; by default it is in `cert`, too.
        client_ca: Mutual TLS: PEM file (or directory, see `c_rehash`) of the authorities that
            clients' certificates must come from. Handlers find them in `call.peer`.
        require_client: With `client_ca`: whether a client without a certificate is refused.
        password: Of the key.
        require_alpn: Refuse clients that do not agree on HTTP/2, as gRPC's security asks for.
        reload_interval: Seconds between two looks at the files, which happen as clients connect; a
            changed certificate, key or `client_ca` is used for the connections after it. Infinity
            for never; `reload()` does it at any time.

    Raises:
        OSError: A file is missing or cannot be used (ssl.SSLError); the message says which.
    """

    def build() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _harden(context)
        _load_chain(context, cert, key, password)
        if client_ca is not None:
            _load_authorities(context, client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
        return context

    tls = ServerTls([file for file in (cert, key, client_ca) if file], build, reload_interval)
    tls.require_alpn = require_alpn
    return tls


def client_tls(
    *,
    ca: StrPath | None = None,
    cert: StrPath | None = None,
    key: StrPath | None = None,
    password: str | None = None,
    require_alpn: bool = True,
    reload_interval: float = RELOAD_INTERVAL,
) -> ClientTls:
    """TLS for a channel. The server's certificate is always checked, its name included, which is
    the target's or that of `open_channel(authority=)`.

    Args:
        ca: PEM file or directory of the authorities to trust; by default the system's.
        cert, key, password: Mutual TLS: what this client shows, as for `server_tls`.
        require_alpn: Refuse servers that do not agree on HTTP/2.
        reload_interval: As for `server_tls`; looked at as connections are made.

    Raises:
        OSError: A file is missing or cannot be used (ssl.SSLError); the message says which.
        ValueError: `key` without `cert`.
    """
    if key is not None and cert is None:
        raise ValueError("a key needs its certificate: cert=")

    def build() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _harden(context)
        if ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            _load_authorities(context, ca)
        if cert is not None:
            _load_chain(context, cert, key, password)
        return context

    tls = ClientTls([file for file in (ca, cert, key) if file], build, reload_interval)
    tls.require_alpn = require_alpn
    return tls


def context_of(security: ServerSecurity | ClientSecurity) -> ssl.SSLContext:
    """The context for the next handshake."""
    return security if isinstance(security, ssl.SSLContext) else security.context


def requires_alpn(security: ServerSecurity | ClientSecurity) -> bool:
    """Whether a peer that agrees on no protocol is refused."""
    return isinstance(security, ssl.SSLContext) or security.require_alpn


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # For TLS 1.2; the cipher suites of 1.3 are all of this kind.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols([ALPN])


def _load_chain(
    context: ssl.SSLContext, cert: StrPath, key: StrPath | None, password: str | None
) -> None:
    def no_password() -> str:
        # Without this OpenSSL would ask the terminal, and the server would stand still.
        raise ValueError(f"the key of {os.fspath(cert)} is encrypted: give its password")

    try:
        context.load_cert_chain(cert, key, no_password if password is None else password)
    except OSError as error:
        names = " and ".join(os.fspath(file) for file in (cert, key) if file)
        raise type(error)(error.errno, f"{names}: {error.strerror or error}") from error


def _load_authorities(context: ssl.SSLContext, ca: StrPath) -> None:
    path = os.fspath(ca)
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except OSError as error:
        raise type(error)(error.errno, f"{path}: {error.strerror or error}") from error
