"""Settings of a group's runtime that cannot work are refused, each by its name."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from trioraft.node import RuntimeSettings
from trioraft.raft.errors import ConfigurationError

MAY_BE_ZERO = {"keep_entries", "keep_entries_max"}
NUMBERS = [
    field.name
    for field in fields(RuntimeSettings)
    if isinstance(field.default, int | float) and not isinstance(field.default, bool)
]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_cannot_work_is_refused_by_name(name: str) -> None:
    for value in (-1, math.nan) if name in MAY_BE_ZERO else (0, -1, math.nan):
        settings: dict[str, Any] = {name: value}
        with pytest.raises(ConfigurationError, match=rf"{name}={value}: must"):
            RuntimeSettings(**settings)


@pytest.mark.parametrize("name", sorted(MAY_BE_ZERO))
def test_zero_is_fine_where_it_means_nothing_is_kept(name: str) -> None:
    settings: dict[str, Any] = {name: 0}
    assert getattr(RuntimeSettings(**settings), name) == 0


@pytest.mark.parametrize("kind", ["snapshot_retry", "reconnect"])
def test_a_pause_does_not_end_before_it_begins(kind: str) -> None:
    settings: dict[str, Any] = {f"{kind}_min": 3.0, f"{kind}_max": 2.0}
    with pytest.raises(ConfigurationError, match=f"{kind}_max=2.0: must not be below {kind}_min"):
        RuntimeSettings(**settings)
