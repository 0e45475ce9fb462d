"""Targets as gRPC writes them."""

from __future__ import annotations

import pytest

from trioraft.rpc.client.naming.address import Address
from trioraft.rpc.client.naming.target import Target, named_target, parse_target


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("localhost:50051", Target("localhost:50051", name=("localhost", 50051))),
        ("example.org", Target("example.org:443", name=("example.org", 443))),
        ("127.0.0.1:5", Target("127.0.0.1:5", (Address("127.0.0.1", 5),))),
        ("[::1]:7", Target("[::1]:7", (Address("::1", 7),))),
        ("::1", Target("[::1]:443", (Address("::1", 443),))),
        ("[fe80::1%lo]:7", Target("[fe80::1%lo]:7", (Address("fe80::1%lo", 7),))),
        ("dns:host:1", Target("host:1", name=("host", 1))),
        ("dns:///host:1", Target("host:1", name=("host", 1))),
        ("dns:///host", Target("host:443", name=("host", 443))),
        ("ipv4:127.0.0.1:5", Target("127.0.0.1:5", (Address("127.0.0.1", 5),))),
        ("ipv4:127.0.0.1", Target("127.0.0.1:443", (Address("127.0.0.1", 443),))),
        (
            "ipv4:127.0.0.1:5,127.0.0.2:6",
            Target("127.0.0.1:5", (Address("127.0.0.1", 5), Address("127.0.0.2", 6))),
        ),
        ("ipv6:[::1]:5", Target("[::1]:5", (Address("::1", 5),))),
        ("ipv6:[::1]:5,[::2]", Target("[::1]:5", (Address("::1", 5), Address("::2", 443)))),
        ("unix:/run/x.sock", Target("localhost", (Address(path="/run/x.sock"),))),
        ("unix:x.sock", Target("localhost", (Address(path="x.sock"),))),
        ("unix:///run/x.sock", Target("localhost", (Address(path="/run/x.sock"),))),
        ("unix-abstract:name", Target("localhost", (Address(path="\0name"),))),
    ],
)
def test_targets(target: str, expected: Target) -> None:
    assert parse_target(target) == expected


@pytest.mark.parametrize(
    "target",
    [
        "",
        ":50051",
        "host:http",
        "host:0",
        "host:65536",
        "[::1",
        "[::1]5",
        "ipv4:host:5",
        "ipv6:127.0.0.1:5",
        "unix:",
        "unix:a\0b",
        "unix-abstract:",
        "unix-abstract:a\0b",
        "ipv4:1.2.3.4:5,",
        "unix://relative",
        "dns://8.8.8.8/host:1",
        "http://host:1",
        "xds:///service",
    ],
)
def test_bad_targets(target: str) -> None:
    with pytest.raises(ValueError, match="target"):
        parse_target(target)


@pytest.mark.parametrize(
    ("target", "authority"),
    [("fleet", "fleet"), ("etcd:///orders", "orders"), ("etcd://cluster/a/b", "a/b")],
)
def test_the_authority_of_a_target_for_a_resolver(target: str, authority: str) -> None:
    assert named_target(target).authority == authority


@pytest.mark.parametrize(
    ("target", "name"),
    [("example.org:1", "example.org"), ("[::1]:7", "::1"), ("unix:x", "localhost")],
)
def test_the_name_that_a_certificate_must_have(target: str, name: str) -> None:
    assert parse_target(target).server_name == name
