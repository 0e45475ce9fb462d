"""A group's consensus core as the disk remembers it."""

from __future__ import annotations

import random

import trio

from trioraft.raft.config import RaftConfig
from trioraft.raft.core import RaftCore
from trioraft.raft.log import RaftLog
from trioraft.raft.types import NO_INDEX, Configuration, NodeId
from trioraft.storage.interface import GroupStorage

__all__ = ["recovered_core"]


def recovered_core(
    storage: GroupStorage,
    node_id: NodeId,
    bootstrap: Configuration,
    config: RaftConfig,
    rng: random.Random,
    clock_rate: float,
) -> RaftCore:
    """The core as the disk remembers it; `bootstrap` counts until a snapshot or entry says more."""
    found = storage.recovered
    log = RaftLog.recovered(
        base_index=found.base_index,
        base_term=found.base_term,
        last_index=found.last_index,
        term_runs=found.term_runs,
        configurations=found.configurations,
        tail=found.tail,
        max_cached_bytes=config.max_cached_bytes,
    )
    snapshot = found.snapshot
    return RaftCore(
        node_id=node_id,
        config=config,
        configuration=snapshot.configuration if snapshot else bootstrap,
        log=log,
        hard_state=found.hard_state,
        rng=rng,
        now=trio.current_time() * clock_rate,
        commit=snapshot.index if snapshot else found.base_index,
        configuration_index=snapshot.configuration_index if snapshot else NO_INDEX,
    )
