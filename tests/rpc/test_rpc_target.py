"""Targets as gRPC writes them."""

from __future__ import annotations

import pytest

from trioraft.rpc.client.target import Target, parse_target


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("localhost:50051", Target("localhost:50051", (("localhost", 50051),))),
        ("example.org", Target("example.org:443", (("example.org", 443),))),
        ("[::1]:7", Target("[::1]:7", (("::1", 7),))),
        ("::1", Target("[::1]:443", (("::1", 443),))),
        ("dns:host:1", Target("host:1", (("host", 1),))),
        ("dns:///host:1", Target("host:1", (("host", 1),))),
        ("ipv4:127.0.0.1:5", Target("127.0.0.1:5", (("127.0.0.1", 5),))),
        (
            "ipv4:127.0.0.1:5,127.0.0.2:6",
            Target("127.0.0.1:5", (("127.0.0.1", 5), ("127.0.0.2", 6))),
        ),
        ("ipv6:[::1]:5", Target("[::1]:5", (("::1", 5),))),
        ("unix:/run/x.sock", Target("localhost", path="/run/x.sock")),
        ("unix:x.sock", Target("localhost", path="x.sock")),
        ("unix:///run/x.sock", Target("localhost", path="/run/x.sock")),
        ("unix-abstract:name", Target("localhost", path="\0name")),
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
        "unix://relative",
        "dns://8.8.8.8/host:1",
        "http://host:1",
        "xds:///service",
    ],
)
def test_bad_targets(target: str) -> None:
    with pytest.raises(ValueError, match="target"):
        parse_target(target)
