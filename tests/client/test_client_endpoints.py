"""Lists of endpoints, and the ring that calls go round."""

from __future__ import annotations

import pytest

from trioraft.client.endpoints import Endpoint, EndpointRing, parse_endpoints
from trioraft.raft.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:7101", ("127.0.0.1:7101",)),
        ("a:1, b:2 ,c:3,", ("a:1", "b:2", "c:3")),
        ("a:1,a:1", ("a:1",)),
        ("http://127.0.0.1:2379/", ("127.0.0.1:2379",)),
        ("[::1]:7101", ("[::1]:7101",)),
        ("unix:/tmp/s,dns:///a:1", ("unix:/tmp/s", "dns:///a:1")),
        (["a:1", "b:2"], ("a:1", "b:2")),
    ],
)
def test_parsing(text: str | list[str], expected: tuple[str, ...]) -> None:
    assert parse_endpoints(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list is empty"),
        (" , ", "the list is empty"),
        ("localhost", "'localhost' is not host:port"),
        ("a:1,b", "'b' is not host:port"),
        ("a:port", "'a:port' is not host:port"),
        ("a:0", "not host:port"),
        ("a:65536", "not host:port"),
        (":7101", "not host:port"),
        ("https://a:1", "asks for TLS"),
        ([f"a:{port}" for port in range(1, 66)], "65 of them; at most 64"),
    ],
)
def test_malformed_lists_name_the_entry(text: str | list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_endpoints(text)


def ring() -> EndpointRing:
    return EndpointRing([Endpoint(target, None) for target in "abc"])


def test_one_failure_seen_by_many_moves_on_by_one() -> None:
    endpoints = ring()
    first = endpoints.current
    for _ in range(100):
        endpoints.failed(first, "gone")
    assert endpoints.current.target == "b"
    assert first.failure == "gone"


def test_the_ring_is_a_ring_and_can_be_turned() -> None:
    endpoints = ring()
    for expected in "abcab":
        assert endpoints.current.target == expected
        endpoints.failed(endpoints.current, "gone")
    endpoints.prefer(endpoints.all[0])
    assert endpoints.current.target == "a"
    assert endpoints.describe_failures() == "a: gone; b: gone; c: gone"
