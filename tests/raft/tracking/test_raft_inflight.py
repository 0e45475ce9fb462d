"""The window against a plain list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioraft.raft.tracking.inflight import Inflight

appends = st.tuples(st.integers(0, 3), st.integers(0, 50))  # entries, bytes
acks = st.integers(0, 30)


@given(st.lists(st.one_of(appends, acks)))
def test_window_counts_what_is_not_acknowledged(steps: list[tuple[int, int] | int]) -> None:
    window = Inflight(max_count=4, max_bytes=100)
    model: list[tuple[int, int]] = []
    last = 0
    for step in steps:
        if isinstance(step, int):
            window.free_to(step)
            while model and model[0][0] <= step:
                model.pop(0)
        elif not window.full:
            last += step[0]
            window.add(last, step[1])
            model.append((last, step[1]))
        assert len(window) == len(model) <= 4
        assert window.bytes == sum(size for _, size in model) < 100 + 50
        assert window.full == (len(model) == 4 or window.bytes >= 100)


def test_clear_forgets_everything() -> None:
    window = Inflight(1, 10)
    window.add(5, 50)
    assert window.full
    window.clear()
    assert (len(window), window.bytes, window.full) == (0, 0, False)
