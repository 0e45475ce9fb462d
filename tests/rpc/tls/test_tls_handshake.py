"""TLS on real sockets: who may talk to whom, and what both are told if not."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from _authority import Authority, Signed
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, One

from trioraft.rpc import (
    Channel,
    GRPCError,
    Limits,
    Status,
    Tcp,
    client_tls,
    open_channel,
    open_server,
    server_tls,
)


@asynccontextmanager
async def secured(tls: Any, services: Any = None, **options: Any) -> AsyncIterator[int]:
    """A server of `tls` on a free port."""
    listen = Tcp(port=0, tls=tls)
    async with open_server(services or [Echo()], listen=listen, **options) as server:
        yield server.addresses[0][1]


async def ask(channel: Channel) -> bytes:
    async with channel:
        reply = await EchoStub(channel).Unary(EchoRequest(payload=b"x"), timeout=10)
        payload: bytes = reply.payload
        return payload


def to(port: int, **tls: Any) -> Channel:
    return open_channel(f"localhost:{port}", ssl_context=client_tls(**tls))


async def test_a_server_that_is_who_it_says(authority: Authority, server_cert: Signed) -> None:
    async with secured(server_tls(server_cert.cert, server_cert.key)) as port:
        assert await ask(to(port, ca=authority.cert)) == b"x"


async def test_a_server_that_nobody_vouches_for(server_cert: Signed) -> None:
    async with secured(server_tls(server_cert.cert, server_cert.key)) as port:
        with pytest.raises(GRPCError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await ask(to(port))
        assert caught.value.status is Status.UNAVAILABLE


async def test_a_server_of_another_name(authority: Authority) -> None:
    other = authority.sign("other", "DNS:other.example.org")
    async with secured(server_tls(other.cert, other.key)) as port:
        with pytest.raises(GRPCError, match="Hostname mismatch"):
            await ask(to(port, ca=authority.cert))
        tls = client_tls(ca=authority.cert)
        channel = open_channel(f"localhost:{port}", ssl_context=tls, authority="other.example.org")
        assert await ask(channel) == b"x"


async def test_mutual_tls_and_what_handlers_see(
    authority: Authority, server_cert: Signed, client_cert: Signed
) -> None:
    seen: list[Any] = []

    async def handler(stream: Any) -> None:
        await stream.recv_message()
        seen.append(stream.peer)
        seen.append(stream.peer.certificate)
        await stream.send_message(EchoReply(payload=b"x"))

    tls = server_tls(server_cert.cert, server_cert.key, client_ca=authority.cert)
    async with secured(tls, [One(handler)]) as port:
        assert (
            await ask(to(port, ca=authority.cert, cert=client_cert.cert, key=client_cert.key))
            == b"x"
        )
    peer, certificate = seen
    assert certificate.common_name == "alice"
    assert certificate.subject == (("organizationName", "Test"), ("commonName", "alice"))
    assert certificate.issuer == (("organizationName", "Test"), ("commonName", "authority"))
    assert certificate.uris == ("spiffe://test/alice",)
    assert certificate.emails == ("alice@example.org",)
    assert (certificate.dns_names, certificate.ip_addresses) == ((), ())
    assert certificate.der == ssl.PEM_cert_to_DER_cert(client_cert.cert.read_text())
    assert ssl.cert_time_to_seconds(certificate.not_after) > 0
    assert int(certificate.serial_number, 16) > 0
    assert peer.credentials is None


async def test_a_client_without_a_certificate(
    authority: Authority, server_cert: Signed, caplog: pytest.LogCaptureFixture
) -> None:
    tls = server_tls(server_cert.cert, server_cert.key, client_ca=authority.cert)
    async with secured(tls) as port:
        with pytest.raises(GRPCError) as caught:
            await ask(to(port, ca=authority.cert))
        assert caught.value.status is Status.UNAVAILABLE
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in caplog.text.upper().replace(" ", "_")


async def test_a_client_that_may_stay_unknown(authority: Authority, server_cert: Signed) -> None:
    seen: list[Any] = []

    async def handler(stream: Any) -> None:
        seen.append(stream.peer.certificate)
        await stream.recv_message()
        await stream.send_message(EchoReply(payload=b"x"))

    tls = server_tls(
        server_cert.cert, server_cert.key, client_ca=authority.cert, require_client=False
    )
    async with secured(tls, [One(handler)]) as port:
        assert await ask(to(port, ca=authority.cert)) == b"x"
    assert seen == [None]


def old_client(authority: Authority, *alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.cert)
    context.set_alpn_protocols(list(alpn))
    return context


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
async def test_clients_that_do_not_agree_to_http2(
    alpn: tuple[str, ...],
    authority: Authority,
    server_cert: Signed,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with secured(server_tls(server_cert.cert, server_cert.key)) as port:
        stream = trio.SSLStream(
            await trio.open_tcp_stream("localhost", port),
            old_client(authority, *alpn),
            server_hostname="localhost",
            https_compatible=True,
        )
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
            await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            while await stream.receive_some():
                pass
            raise trio.BrokenResourceError  # closed in good order
        await trio.aclose_forcefully(stream)
    [line] = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith("client 127.0.0.1:")
    assert line.endswith("the client did not agree to HTTP/2 (ALPN h2)")


async def test_clients_without_alpn_may_be_let_in(
    authority: Authority, server_cert: Signed
) -> None:
    tls = server_tls(server_cert.cert, server_cert.key, require_alpn=False)
    async with secured(tls) as port:

        async def dial() -> trio.abc.Stream:
            return trio.SSLStream(
                await trio.open_tcp_stream("localhost", port),
                old_client(authority),
                server_hostname="localhost",
                https_compatible=True,
            )

        assert await ask(open_channel("any", dial=dial)) == b"x"


@pytest.mark.parametrize("tolerant", [False, True])
async def test_servers_without_alpn(
    tolerant: bool, authority: Authority, server_cert: Signed
) -> None:
    tls = server_tls(server_cert.cert, server_cert.key, require_alpn=False)
    tls.context.set_alpn_protocols([])
    async with secured(tls) as port:
        channel = to(port, ca=authority.cert, require_alpn=not tolerant)
        if tolerant:
            assert await ask(channel) == b"x"
        else:
            with pytest.raises(GRPCError, match="server did not agree to HTTP/2"):
                await ask(channel)


async def test_tls_before_1_2_is_refused(authority: Authority, server_cert: Signed) -> None:
    async with secured(server_tls(server_cert.cert, server_cert.key)) as port:
        context = old_client(authority, "h2")
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        stream = trio.SSLStream(
            await trio.open_tcp_stream("localhost", port), context, server_hostname="localhost"
        )
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)
        assert await ask(to(port, ca=authority.cert)) == b"x"


async def test_a_client_that_never_shakes_hands(
    server_cert: Signed, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(handshake_timeout=0.1)
    async with secured(server_tls(server_cert.cert, server_cert.key), limits=limits) as port:
        stream = await trio.open_tcp_stream("localhost", port)
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
    assert "no TLS handshake within 0.1 s" in caplog.text


async def test_plain_clients_of_a_tls_port_hear_that_it_failed(
    server_cert: Signed, caplog: pytest.LogCaptureFixture
) -> None:
    async with secured(server_tls(server_cert.cert, server_cert.key)) as port:
        with pytest.raises(GRPCError) as caught:
            await ask(open_channel(f"localhost:{port}"))
        assert caught.value.status is Status.UNAVAILABLE
    assert "TLS handshake failed" in caplog.text


async def test_one_server_plain_here_and_tls_there(
    authority: Authority, server_cert: Signed
) -> None:
    tls = server_tls(server_cert.cert, server_cert.key)
    async with open_server(
        [Echo()], listen=["tcp:127.0.0.1:0", "tls:127.0.0.1:0"], ssl_context=tls
    ) as server:
        (_, plain), (_, secure) = server.addresses
        assert await ask(open_channel(f"127.0.0.1:{plain}")) == b"x"
        assert await ask(to(secure, ca=authority.cert)) == b"x"
