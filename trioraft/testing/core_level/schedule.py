"""One random schedule of a group of cores, from a seed.

Messages are lost, doubled and overtaken, disks are slow, clocks run at different rates, nodes
crash, stand still and are cut off, leadership is handed over, logs are compacted. At the end all
of that stops and the group must agree again: nothing may stay stuck.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import harm, weather, wishes
from .healing import heal
from .scene import Scene

__all__ = ["ACTIONS", "ScheduleOutcome", "run_schedule"]

ACTIONS = 250  # per schedule, after a first agreement
_PACKET_LIMIT = 80  # messages under way; older ones are lost

# What may happen next, each with its weight in common schedules and in stormy ones.
_WEIGHTS: tuple[tuple[Callable[[Scene], None], int, int], ...] = (
    (weather.deliver, 160, 160),
    (weather.tick, 30, 80),
    (weather.sync, 40, 40),
    (wishes.propose, 25, 25),
    (weather.drop, 6, 6),
    (weather.duplicate, 6, 6),
    (wishes.read, 8, 8),
    (harm.crash_or_restart, 3, 16),
    (harm.partition, 4, 4),
    (harm.pause, 2, 2),
    (harm.depose, 2, 2),
    (wishes.compact, 8, 8),
    (wishes.change_members, 3, 3),
    (wishes.transfer, 1, 1),
    (wishes.step_down, 1, 1),
    (wishes.pause_elections, 1, 1),
    (wishes.rest, 1, 1),
    (harm.lose_stream, 1, 1),
    (harm.fail_snapshot, 1, 1),
)
_STORMY = 0.4  # of all schedules


@dataclass(frozen=True, slots=True)
class ScheduleOutcome:
    """What one schedule did. The same seed gives the same outcome."""

    seed: int
    nodes: int
    committed: int  # entries
    leaderships: int
    reads: int  # answered
    crashes: int
    changes: int  # of membership, carried through


def run_schedule(
    seed: int, *, actions: int = ACTIONS, say: Callable[[str], None] | None = None
) -> ScheduleOutcome:
    """Run the schedule of `seed`. `say` is told what happens, a line at a time.

    Raises InvariantViolatedError for a broken promise, InvariantError if a core finds one.
    """
    try:
        scene = Scene(seed, say)
        _play(scene, actions)
    except Exception as error:
        error.add_note(f"in the core-level schedule of seed {seed}")
        raise
    group = scene.group
    return ScheduleOutcome(
        seed,
        len(group.nodes),
        group.invariants.newest_commit + 1,
        len(group.invariants.leaders),
        group.answers.reads,
        scene.crashes,
        group.answers.changes,
    )


def _play(scene: Scene, actions: int) -> None:
    stormy = scene.rng.random() < _STORMY
    steps = [step for step, _, _ in _WEIGHTS]
    weights = [storm if stormy else calm for _, calm, storm in _WEIGHTS]
    heal(scene)
    packets = scene.group.packets
    for step in scene.rng.choices(steps, weights, k=actions):
        step(scene)
        if len(packets) > _PACKET_LIMIT:
            del packets[:-_PACKET_LIMIT]
    heal(scene)
