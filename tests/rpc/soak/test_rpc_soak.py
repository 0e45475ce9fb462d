"""A short soak: the long one is `make soak`."""

from __future__ import annotations

import pytest
from _watch import soak


@pytest.mark.slow
def test_nothing_is_left_behind() -> None:
    outcome = soak(4.0, 2.0, clients=1, seed=1, tell=lambda now, outcome: None)
    assert outcome.problems == []
    assert outcome.calls > 100
