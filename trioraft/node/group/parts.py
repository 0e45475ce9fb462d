"""The parts of a group, and how they are put together: each knows only those that it needs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from trioraft.node.applier import Applier
from trioraft.node.driver import Driver
from trioraft.node.machine import StateMachine
from trioraft.node.outbound import GroupOutbound
from trioraft.node.peer_set import PeerSet
from trioraft.node.peers import PeerConnector
from trioraft.node.sessions import SessionTable
from trioraft.node.settings import RuntimeSettings
from trioraft.node.snapshots import Snapshots
from trioraft.node.snapshots.compaction import keep_after
from trioraft.node.wakeups import Doorbell
from trioraft.node.writes import Writes
from trioraft.raft.core import RaftCore
from trioraft.raft.types import SnapshotMeta
from trioraft.storage.interface import GroupStorage

__all__ = ["Parts", "build_parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs in a group's nursery."""

    applier: Applier
    snapshots: Snapshots
    peers: PeerSet
    outbound: GroupOutbound
    driver: Driver


def build_parts(
    *,
    name: str,
    core: RaftCore,
    settings: RuntimeSettings,
    storage: GroupStorage,
    machine: StateMachine,
    connector: PeerConnector,
    vote_timeout: float,
    rng: random.Random,
    clock_rate: float,
    on_change: Callable[[], None],
    on_rest: Callable[[bool], None],
) -> Parts:
    """Build what runs around `core`. Nothing is started, and nothing is called back before.

    name: for the log.
    vote_timeout: seconds.
    on_change: called when role, term or leader has changed, in a turn.
    on_rest: called when rest has begun or ended, in a turn.
    """

    def snapshot_taken(meta: SnapshotMeta, before: int) -> None:
        driver.call(lambda _now: _compact(core, storage, settings, meta, before))

    sessions = SessionTable(settings.sessions)
    writes = Writes(sessions)
    applier_bell = Doorbell()
    snapshots = Snapshots(
        machine=machine,
        sessions=sessions,
        storage=storage,
        settings=settings,
        configuration_at=core.configuration_at,
        on_snapshot=snapshot_taken,
        doorbell=applier_bell,
    )
    applier = Applier(
        machine=machine,
        log=core.log,
        storage=storage,
        settings=settings,
        sessions=sessions,
        writes=writes,
        snapshots=snapshots,
        doorbell=applier_bell,
    )
    peers = PeerSet(core.node_id, connector)
    outbound = GroupOutbound(
        name=name,
        core=core,
        storage=storage,
        peers=peers,
        settings=settings,
        vote_timeout=vote_timeout,
        rng=rng,
        on_change=on_change,
        on_rest=on_rest,
    )
    driver = Driver(
        core=core,
        storage=storage,
        applier=applier,
        outbound=outbound,
        settings=settings,
        writes=writes,
        clock_rate=clock_rate,
    )
    return Parts(applier, snapshots, peers, outbound, driver)


def _compact(
    core: RaftCore,
    storage: GroupStorage,
    settings: RuntimeSettings,
    meta: SnapshotMeta,
    before: int,
) -> None:
    """Let the log go up to the snapshot `meta`, the one after that of entry `before`. In a turn."""
    found = [core.progress(member.id) for member in core.configuration.members()]
    followers = [follower for follower in found if follower is not None]
    core.compact(meta, keep_after(meta.index, before, followers, settings))
    base = core.log.base_index
    if base >= 0:
        storage.compact(base, core.log.base_term)
