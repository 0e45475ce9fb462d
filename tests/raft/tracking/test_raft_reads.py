"""Read index (thesis §6.4): a quorum confirms, in a round that began after the read."""

from __future__ import annotations

from raft_rig import HEARTBEAT, Rig, append, sent

from trioraft.raft.messages import AppendReply, AppendRequest
from trioraft.raft.tracking.reads import MAX_READ_ROUNDS
from trioraft.raft.types import Proposal


def leader(**settings: object) -> Rig:
    rig = Rig(**settings)  # type: ignore[arg-type]
    rig.lead()
    rig.accept("n2")
    rig.settle()
    rig.accept("n2")  # the append that told it of the commit
    return rig


def rounds(rig: Rig) -> list[int]:
    """Rounds that begin with the next Ready."""
    return [m.round for to, m in sent(rig.ready(), AppendRequest) if m.heartbeat and to == "n2"]


def beat(round: int, follower: str = "n2", success: bool = True) -> AppendReply:
    return AppendReply(1, follower, success, round=round, heartbeat=True)


def test_reads_that_arrive_together_share_a_round() -> None:
    rig = leader()
    rig.core.read_index("a", rig.now)
    rig.core.read_index("b", rig.now)
    (round_,) = rounds(rig)
    rig.step(beat(round_))
    assert rig.ready().reads == [(["a", "b"], 0)]


def test_an_earlier_round_confirms_nothing() -> None:
    rig = leader()
    rig.core.read_index("a", rig.now)
    (round_,) = rounds(rig)
    rig.step(beat(round_ - 1))
    rig.step(beat(round_, success=False))
    assert not rig.core.has_ready()
    rig.core.read_index("b", rig.now)
    (later,) = rounds(rig)
    assert later == round_ + 1
    rig.step(beat(round_))
    assert rig.ready().reads == [(["a"], 0)]
    rig.step(beat(later))
    assert rig.ready().reads == [(["b"], 0)]


def test_a_later_round_confirms_earlier_reads_too() -> None:
    rig = leader()
    for token in "ab":
        rig.core.read_index(token, rig.now)
        rig.ready()
    rig.wait(0.25)
    (regular,) = rounds(rig)
    rig.step(beat(regular, "n3"))
    assert rig.ready().reads == [(["a"], 0), (["b"], 0)]


def test_answers_to_entries_confirm_as_well() -> None:
    rig = leader()
    rig.core.read_index("a", rig.now)
    (round_,) = rounds(rig)
    rig.core.propose([Proposal(b"x")], rig.now)
    rig.ready()
    rig.accept("n2", round=round_)
    assert rig.ready().reads == [(["a"], 0)]


def test_a_read_sees_what_was_committed_when_it_arrived() -> None:
    rig = leader()
    rig.core.propose([Proposal(b"x")], rig.now)
    rig.settle()
    rig.core.read_index("a", rig.now)
    (round_,) = rounds(rig)
    rig.accept("n2", 1)
    rig.ready()
    rig.step(beat(round_, "n3"))
    assert rig.ready().reads == [(["a"], 0)]


def test_a_new_leader_waits_for_the_first_entry_of_its_term() -> None:
    rig = Rig(1, 1, term=1)
    rig.lead()
    rig.core.read_index("a", rig.now)
    (round_,) = rounds(rig)
    rig.step(AppendReply(2, "n2", True, round=round_, heartbeat=True))
    assert rig.ready().reads == []
    rig.accept("n2")
    assert rig.ready().reads == [(["a"], 2)]


def test_a_single_voter_confirms_itself_at_once() -> None:
    rig = Rig(voters=["n1"], learners=["n2"])
    rig.time_out()
    rig.settle()
    rig.core.read_index("a", rig.now)
    assert rig.ready().reads == [(["a"], 0)]


def test_rounds_in_flight_are_bounded_and_the_rest_wait_together() -> None:
    rig = leader()
    begun = []
    for token in range(MAX_READ_ROUNDS + 5):
        rig.core.read_index(token, rig.now)
        begun += rounds(rig)
    assert len(begun) == MAX_READ_ROUNDS
    rig.step(beat(begun[0]))
    ready = rig.ready()
    assert ready.reads == [([0], 0)]
    (last,) = {m.round for _, m in sent(ready, AppendRequest) if m.heartbeat}
    rig.step(beat(last))
    assert rig.ready().reads[-1] == (list(range(MAX_READ_ROUNDS, MAX_READ_ROUNDS + 5)), 0)


def test_heartbeats_by_the_clock_begin_no_more_rounds_for_reads_than_that() -> None:
    rig = leader()
    begun = []
    for token in range(MAX_READ_ROUNDS + 1):
        rig.core.read_index(token, rig.now)
        begun += rounds(rig)
    rig.wait(HEARTBEAT)
    (beating,) = rounds(rig)
    assert rig.core.read_rounds == MAX_READ_ROUNDS
    rig.step(beat(beating))
    ready = rig.ready()
    assert [tokens for tokens, _ in ready.reads] == [[token] for token in range(MAX_READ_ROUNDS)]
    (last,) = {m.round for _, m in sent(ready, AppendRequest) if m.heartbeat}
    rig.step(beat(last))
    assert rig.ready().reads == [([MAX_READ_ROUNDS], 0)]


def test_reads_of_a_deposed_leader_are_dropped() -> None:
    rig = leader()
    rig.core.read_index("a", rig.now)
    rig.ready()
    rig.core.read_index("b", rig.now)
    rig.step(append(term=4, heartbeat=True), "h")
    ready = rig.ready()
    assert (ready.reads, ready.dropped_reads) == ([], ["a", "b"])


def test_rounds_that_never_began_are_not_believed() -> None:
    rig = leader()
    rig.step(beat(10**9))
    rig.core.read_index("a", rig.now)
    rig.ready()
    assert rig.ready().reads == []
