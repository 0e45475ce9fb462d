"""Weights: from reports to shares, under a clock that is a number."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioraft.rpc import WeightedRoundRobin
from trioraft.rpc.client.balancing.weights import Weight, balanced
from trioraft.rpc.orca import LoadReport


def load(qps: float = 100.0, cpu: float = 0.5, eps: float = 0.0, app: float = 0.0) -> LoadReport:
    return LoadReport(requests_per_second=qps, cpu=cpu, errors_per_second=eps, application=app)


def weight_of(report: LoadReport, **settings: Any) -> float:
    """The weight that one report makes."""
    weight = Weight(WeightedRoundRobin(blackout_period=0, **settings))
    weight.report(report, 1.0)
    return weight.at(1.0)


@pytest.mark.parametrize(
    ("report", "settings", "expected"),
    [
        (load(100, 0.5), {}, 200),
        (load(100, 2.0), {}, 50),
        (load(100, 0.5, app=0.25), {}, 400),  # the application knows better
        (load(100, 0.5, eps=50), {}, 100),
        (load(100, 0.5, eps=50), {"error_utilization_penalty": 3}, 50),
        (load(100, 0.5, eps=50), {"error_utilization_penalty": 0}, 200),
        (load(100, 0.0), {}, 0),  # no utilization
        (load(100, 0.0, eps=50), {}, 0),
        (load(0, 0.5), {}, 0),  # no rate
        (LoadReport(memory=0.5, utilization={"disk": 0.5}), {}, 0),
        (load(1e308, 1e-308), {}, 0),  # more than a float can hold
        (load(1e-308, 0.5, eps=1e308), {}, 0),
    ],
)
def test_the_formula(report: LoadReport, settings: Any, expected: float) -> None:
    assert weight_of(report, **settings) == pytest.approx(expected)


def test_blackout() -> None:
    weight = Weight(WeightedRoundRobin(blackout_period=10))
    assert weight.at(0.0) == 0
    weight.report(load(), 5.0)
    assert weight.at(5.0) == weight.at(14.9) == 0
    assert weight.at(15.0) == 200
    weight.report(load(cpu=1.0), 15.0)
    assert weight.at(15.0) == 100
    weight.connected()
    assert weight.at(16.0) == 0  # until it reports again, and then for 10 s
    weight.report(load(), 17.0)
    assert weight.at(26.9) == 0
    assert weight.at(27.0) == 200


def test_reports_without_a_weight_do_not_begin_the_blackout() -> None:
    weight = Weight(WeightedRoundRobin(blackout_period=10))
    weight.report(load(qps=0), 0.0)
    weight.report(load(), 5.0)
    assert weight.at(14.9) == 0
    assert weight.at(15.0) == 200


def test_expiry_and_another_blackout() -> None:
    weight = Weight(WeightedRoundRobin(blackout_period=10, weight_expiration_period=60))
    weight.report(load(), 0.0)
    weight.report(load(), 10.0)
    assert weight.at(69.9) == 200
    assert weight.at(70.0) == 0
    weight.report(load(), 71.0)
    assert weight.at(80.9) == 0
    assert weight.at(81.0) == 200


def test_a_report_without_a_weight_does_not_keep_the_last_one_alive() -> None:
    weight = Weight(WeightedRoundRobin(blackout_period=0, weight_expiration_period=60))
    weight.report(load(), 0.0)
    weight.report(load(qps=0), 59.0)
    assert weight.at(59.0) == 200
    assert weight.at(60.0) == 0


def test_without_an_expiry_period_no_weight_lasts() -> None:
    assert weight_of(load(), weight_expiration_period=0) == 0


def test_other_settings_count_at_once() -> None:
    weight = Weight(WeightedRoundRobin(blackout_period=10))
    weight.report(load(), 0.0)
    assert weight.at(1.0) == 0
    weight.follow(WeightedRoundRobin(blackout_period=1))
    assert weight.at(1.0) == 200


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([0, 2, 4], [3, 2, 4]),  # the mean of the others
        ([0, 0, 4, 0], [1, 1, 1, 1]),  # one weight is none
        ([0, 0], [1, 1]),
        ([7], [1]),
        ([1, 1, 1, 97], [2.5, 2.5, 2.5, 97]),  # a tenth of the mean, 25
        ([1e-300, 1e300], [0.05, 1]),
        ([1e308, 1e308, 1e308, 0], [1, 1, 1, 1]),
    ],
)
def test_what_is_scheduled(weights: list[float], expected: list[float]) -> None:
    scheduled = balanced(weights)
    shares = [weight / sum(scheduled) for weight in scheduled]
    assert shares == pytest.approx([weight / sum(expected) for weight in expected])


def test_nobody_gets_more_than_ten_times_the_mean() -> None:
    heavy, *others = balanced([1e6, *[1.0] * 99])
    mean = (1 + 99e-6) / 100  # with the heaviest as the unit
    assert heavy == pytest.approx(10 * mean)
    assert others == pytest.approx([mean / 10] * 99)


@settings(deadline=None)
@given(st.lists(st.just(0.0) | st.floats(5e-324, 1.7e308), min_size=1, max_size=20))
def test_any_weights_can_be_scheduled(weights: list[float]) -> None:
    scheduled = balanced(weights)
    assert len(scheduled) == len(weights)
    assert all(0 < weight < inf for weight in scheduled)
    assert max(scheduled) / min(scheduled) < 101
