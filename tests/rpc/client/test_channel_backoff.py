"""The pauses between attempts, and what the order of addresses is."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioraft.rpc import Address
from trioraft.rpc.client.connections.backoff import Backoff
from trioraft.rpc.client.naming.address import interleaved


def test_the_document_s_schedule() -> None:
    """1 s without jitter, then 1.6 times more each, 20% either way, to 120 s."""
    backoff = Backoff(1.0, 120.0, random.Random(3))
    assert backoff.begin(50.0) == 51.0
    expected, jitters = 1.0, []
    for _ in range(20):
        expected = min(expected * 1.6, 120.0)
        pause = backoff.begin(1000.0) - 1000.0
        assert 0.8 * expected <= pause <= 1.2 * expected
        jitters.append(pause / expected)
    assert max(jitters) - min(jitters) > 0.1
    backoff.reset()
    assert backoff.begin(0.0) == 1.0


ADDRESS = st.builds(
    Address,
    st.one_of(
        st.integers(1, 9).map(lambda last: f"10.0.0.{last}"),
        st.integers(1, 9).map(lambda last: f"fd00::{last}"),
    ),
    st.integers(1, 3),
)


@given(st.lists(ADDRESS))
def test_families_take_turns(addresses: list[Address]) -> None:
    order = interleaved(addresses)
    assert sorted(order, key=str) == sorted(set(addresses), key=str)
    for family in ("ipv4", "ipv6"):  # the resolver's order within each
        kept = [item for item in order if item.family == family]
        assert kept == [item for item in dict.fromkeys(addresses) if item.family == family]
    if addresses:
        assert order[0] == addresses[0]
    families = [item.family for item in order]
    rarer = min(families.count("ipv4"), families.count("ipv6"))
    for turn in range(rarer):
        assert {families[2 * turn], families[2 * turn + 1]} == {"ipv4", "ipv6"}


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("10.0.0.1", 5), "10.0.0.1:5"),
        (Address("::1", 5), "[::1]:5"),
        (Address(path="/run/x"), "unix:/run/x"),
        (Address(path="\0x"), "unix-abstract:x"),
    ],
)
def test_addresses_as_text(address: Address, text: str) -> None:
    assert str(address) == text
