"""Policies by name and by service config."""

from __future__ import annotations

from typing import Any

import pytest

from trioraft.rpc import Limits, PickFirst, RoundRobin, WeightedRoundRobin, open_channel
from trioraft.rpc.client.balancing import balancing_from, balancing_of


@pytest.mark.parametrize(
    ("config", "policy"),
    [
        ([{"pick_first": {}}], PickFirst()),
        ([{"pick_first": {"shuffleAddressList": True}}], PickFirst(shuffle=True)),
        ([{"round_robin": {}}], RoundRobin()),
        ([{"weighted_round_robin": {}}], WeightedRoundRobin()),
        ([{"grpclb": {}}, {"round_robin": {}}, {"pick_first": {}}], RoundRobin()),
    ],
)
def test_the_first_known_policy_of_a_config_counts(config: Any, policy: Any) -> None:
    assert balancing_from(config) == policy


@pytest.mark.parametrize(
    "config",
    [
        "round_robin",
        {"round_robin": {}},
        [],
        [{"grpclb": {}}],
        [{}],
        [{"round_robin": {}, "pick_first": {}}],
        ["round_robin"],
        [{"round_robin": 1}],
        [{"pick_first": {"shuffleAddressList": "yes"}}],
    ],
)
def test_bad_configs(config: Any) -> None:
    with pytest.raises(ValueError, match=r"loadBalancingConfig|polic|pick_first"):
        balancing_from(config)


def test_names() -> None:
    assert balancing_of("round_robin") == RoundRobin()
    assert balancing_of(PickFirst(shuffle=True)) == PickFirst(shuffle=True)
    with pytest.raises(ValueError, match="there are pick_first, round_robin, weighted_round_robin"):
        open_channel("127.0.0.1:1", balancing="least_request")


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempt_delay": 0.05},
        {"attempt_delay": 3},
        {"idle_timeout": 0},
        {"resolve_interval": -1},
        {"max_connections_per_address": 0},
    ],
)
def test_limits_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)
