"""What is above its bound is seen, in a core and around it."""

from __future__ import annotations

import random

import pytest

from trioraft.node import Occupancy
from trioraft.node.sessions import SessionLimits, SessionTable
from trioraft.raft import RaftConfig, RaftCore, RaftLog
from trioraft.raft.tracking.reads import ReadBatch
from trioraft.raft.types import Configuration, HardState, Member, Proposal, Role, Session
from trioraft.testing.bounds import core_excess, first_excess
from trioraft.testing.invariants import GroupInvariants, InvariantViolatedError

CONFIG = RaftConfig(
    max_inflight_appends=2,
    max_inflight_bytes=1000,
    max_append_bytes=100,
    max_entry_bytes=500,
    max_uncommitted_bytes=1000,
    max_cached_bytes=3000,
)


def leader() -> RaftCore:
    """The only voter leads; a learner never answers. Nothing is durable until somebody says so."""
    members = Configuration((Member("1", "a"),), learners=(Member("2", "b"),))
    core = RaftCore(
        node_id="1",
        config=CONFIG,
        configuration=members,
        log=RaftLog(max_cached_bytes=CONFIG.max_cached_bytes),
        hard_state=HardState(),
        rng=random.Random(1),
        now=0.0,
    )
    core.tick(core.next_deadline)
    while core.has_ready():
        ready = core.ready()
        last = ready.entries[-1] if ready.entries else None
        core.persisted(last.index if last else -1, last.term if last else 0, ready.sequence)
    assert core.role is Role.LEADER
    return core


def test_an_honest_leader_is_within_its_bounds() -> None:
    core = leader()
    core.propose([Proposal(b"x" * 100), Proposal(b"x" * 100)], 1.0)
    core.read_index("read", 1.0)
    assert core_excess(core) is None
    assert core.uncommitted[0] == 1


def test_one_batch_may_be_larger_than_all_of_them_together() -> None:
    core = leader()
    core.propose([Proposal(b"x" * 400), Proposal(b"x" * 400)], 1.0)
    assert core.uncommitted[1] > CONFIG.max_uncommitted_bytes
    assert core_excess(core) is None


@pytest.mark.parametrize("what", ["batches", "no batch", "flight", "bytes", "rounds", "cache"])
def test_what_is_above_its_bound_is_named(what: str) -> None:
    core = leader()
    state = core._s
    lead = state.leadership
    assert lead is not None
    flight = lead.followers["2"].inflight
    match what:
        case "batches":
            core.propose([Proposal(b"x")], 1.0)
            lead.uncommitted.append((99, 1000))
            lead.uncommitted_bytes += 1000
            complaint = "in 2 batches are uncommitted"
        case "no batch":
            lead.uncommitted_bytes = 1
            complaint = "in no batch"
        case "flight":
            for index in range(3):
                flight.add(index, 1)
            complaint = "3 appends are in flight to 2"
        case "bytes":
            flight.add(1, 1500)
            complaint = "1500 bytes are in flight to 2"
        case "rounds":
            for number in range(9):
                lead.reads.begun.append(ReadBatch(number, 0, [object()]))
            complaint = "9 rounds were begun for reads"
        case _:
            state.log._max_cached_bytes = 1 << 20  # so that it keeps too much
            core.propose([Proposal(b"x" * 100)] * 20, 1.0)
            state.log.mark_durable(state.log.last_index)
            complaint = "some of which are durable"
    excess = core_excess(core)
    assert excess is not None
    assert complaint in excess


def test_the_invariants_look_at_it_after_every_step() -> None:
    core = leader()
    invariants = GroupInvariants()
    invariants.started(core)
    invariants.observe(core)
    lead = core._s.leadership
    assert lead is not None
    lead.uncommitted_bytes = 1
    with pytest.raises(InvariantViolatedError, match="1: bounds: 1 bytes are uncommitted"):
        invariants.observe(core)


def test_a_queue_that_is_too_full_is_named() -> None:
    assert first_excess([Occupancy("reads", 3, 3)]) is None
    queues = [Occupancy("reads", 3, 3), Occupancy("proposals", 5, 4)]
    assert first_excess(queues) == "5 proposals, 4 are allowed"


def test_sessions_tell_how_full_they_are() -> None:
    table = SessionTable(SessionLimits(max_clients=2, max_foreign_calls=3, max_reply_bytes=600))
    for index in range(10):
        table.admit(Session(b"client%d" % (index % 3), index), index)
        table.settle(index, b"reply")
        assert first_excess(table.occupancy()) is None
    used = {queue.what: queue.used for queue in table.occupancy()}
    assert used == {"clients with sessions": 2, "bytes of replies": 510, "calls of one client": 1}
