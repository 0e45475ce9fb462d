"""Where to listen, as text and as objects."""

from __future__ import annotations

import socket
import ssl

import pytest

from trioraft.rpc import Bound, Systemd, Tcp, Unix, UnixAbstract, parse_endpoint
from trioraft.rpc.server.options import endpoints_of

TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp:0.0.0.0:50051", Tcp("0.0.0.0", 50051)),
        ("tcp::50051", Tcp("", 50051)),
        ("localhost:1", Tcp("localhost", 1)),
        ("[::1]:0", Tcp("::1", 0)),
        ("tcp:[::]:443", Tcp("::", 443)),
        ("tls:example.org:443", Tcp("example.org", 443, TLS)),
        ("unix:relative.sock", Unix("relative.sock")),
        ("unix:/run/a.sock", Unix("/run/a.sock")),
        ("unix:///run/a.sock", Unix("/run/a.sock")),
        ("unix-abstract:name", UnixAbstract("name")),
        ("systemd", Systemd()),
        ("systemd:grpc", Systemd("grpc")),
    ],
)
def test_texts(text: str, endpoint: object) -> None:
    assert parse_endpoint(text, TLS) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "", "50051", "host", "tcp:50051", "host:", "host:http", "host:65536", "::1:50051",
        "host:-1",
        "tls:host", "unix:", "unix://host/path", "unix-abstract:", "systemd:", "http://host:80",
        "unix:" + 108 * "x", "host:\N{ARABIC-INDIC DIGIT ONE}",
    ],
)  # fmt: skip
def test_what_is_none_of_them(text: str) -> None:
    with pytest.raises(ValueError, match=r"listen|socket"):
        parse_endpoint(text, TLS)


def test_tls_needs_a_certificate() -> None:
    with pytest.raises(ValueError, match="needs a certificate"):
        parse_endpoint("tls:host:443")


def test_nothing_said_is_the_default_port_of_this_machine() -> None:
    assert endpoints_of({}) == [Tcp("127.0.0.1", 50051)]
    assert endpoints_of({"ssl_context": TLS}) == [Tcp("127.0.0.1", 50051, TLS)]


def test_the_short_ways() -> None:
    assert endpoints_of({"port": 0, "uds": "a.sock", "ssl_context": TLS}) == [
        Tcp("127.0.0.1", 0, TLS),
        Unix("a.sock"),
    ]
    assert endpoints_of({"host": ""}) == [Tcp("", 50051)]
    assert endpoints_of({"listen": "unix:a.sock"}) == [Unix("a.sock")]
    assert endpoints_of({"listen": Unix("a.sock", mode=0o600)}) == [Unix("a.sock", 0o600)]
    assert endpoints_of({"listen": ["h:1", Tcp("h", 2)], "port": 3}) == [
        Tcp("127.0.0.1", 3),
        Tcp("h", 1),
        Tcp("h", 2),
    ]


def test_sockets_of_the_network_get_tls() -> None:
    with (
        socket.socket(socket.AF_INET) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        assert endpoints_of({"sockets": [tcp, unix], "ssl_context": TLS}) == [
            Bound(tcp, TLS),
            Bound(unix),
        ]


def test_a_certificate_that_nothing_uses_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="nothing would be served with it"):
        endpoints_of({"listen": "tcp:h:1", "ssl_context": TLS})
