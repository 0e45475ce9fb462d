"""The deadline of the scopes around a task, as Trio itself says it."""

from __future__ import annotations

import math

import trio
from trio.testing import MockClock

from trioraft.rpc import scopes
from trioraft.rpc.scopes import effective_deadline


async def both() -> float:
    """What either says; they have to agree."""
    ours = effective_deadline()
    assert ours == trio.current_effective_deadline()
    with trio.CancelScope(shield=True):
        await trio.lowlevel.checkpoint()
    return ours


def test_this_trio_has_what_the_quick_way_looks_at() -> None:
    """If not, calls still work, but each costs more: `_walk` is to be brought up to date."""
    assert effective_deadline is scopes._walk


async def test_the_earliest_scope_counts(autojump_clock: MockClock) -> None:
    now = trio.current_time()
    assert await both() == math.inf
    with trio.CancelScope(deadline=now + 5):
        assert await both() == now + 5
        with trio.CancelScope(deadline=now + 9) as inner, trio.CancelScope():
            assert await both() == now + 5
            inner.deadline = now + 2
            assert await both() == now + 2
        async with trio.open_nursery():
            assert await both() == now + 5
    assert await both() == math.inf


async def test_a_shield_keeps_out_what_is_around(autojump_clock: MockClock) -> None:
    now = trio.current_time()
    with trio.CancelScope(deadline=now + 1):
        with trio.CancelScope(deadline=now + 7, shield=True) as shielded:
            assert await both() == now + 7
            shielded.shield = False
            assert await both() == now + 1


async def test_in_a_cancelled_scope_it_is_long_past(autojump_clock: MockClock) -> None:
    with trio.CancelScope() as outer:
        outer.cancel()
        with trio.CancelScope():
            assert await both() == -math.inf
        with trio.CancelScope(shield=True):
            assert await both() == math.inf
