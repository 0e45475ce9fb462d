"""Changes of members over whole groups: joint consensus, staging, removal, who leads after."""

from __future__ import annotations

import pytest
from raft_group import Group, ids, members
from raft_node import Disk, Packet
from raft_rig import Rig, only_reply

from trioraft.raft.errors import ChangeInProgressError, NotLeaderError
from trioraft.raft.membership import MembershipChange
from trioraft.raft.messages import AppendReply, AppendRequest
from trioraft.raft.types import Configuration, Role


def test_three_become_five_and_three_others() -> None:
    group = Group("n1", "n2", "n3", joining="n4 n5")
    group.elect("n1")
    assert ids(group.change(MembershipChange.add(members("n4", "n5")))) == (
        ["n1", "n2", "n3", "n4", "n5"],
        [],
    )
    assert group.agreed()
    assert ids(group.change(MembershipChange.remove("n1", "n2"))) == (["n3", "n4", "n5"], [])
    assert group.leader in ("n3", "n4", "n5")
    assert group.agreed()
    assert group.cluster.core("n1").removed
    assert group.cluster.core("n2").removed


def test_every_member_is_replaced_under_load() -> None:
    group = Group("n1", "n2", "n3", joining="n4 n5 n6")
    group.elect("n1")
    for old, new in (("n1", "n4"), ("n2", "n5"), ("n3", "n6")):
        for change in (MembershipChange.add(members(new)), MembershipChange.remove(old)):
            assert group.leader is not None
            group.cluster.propose(group.leader, b"before " + new.encode())
            group.change(change)
            assert group.agreed()
    leader = group.cluster.leader
    assert leader is not None
    assert ids(leader.configuration) == (["n4", "n5", "n6"], [])
    assert [group.cluster.core(i).removed for i in group.cluster.nodes] == [True] * 3 + [False] * 3


def test_all_voters_at_once_if_that_is_allowed() -> None:
    group = Group("n1", "n2", "n3", joining="n4 n5 n6", majority_add=True)
    group.elect("n1")
    group.change(MembershipChange.set(members("n4", "n5", "n6")))
    assert group.leader in ("n4", "n5", "n6")
    assert group.agreed()


def test_a_removed_node_can_be_added_again() -> None:
    group = Group("n1", "n2", "n3")
    group.elect("n1")
    group.change(MembershipChange.remove("n3"))
    assert group.cluster.core("n3").removed
    group.change(MembershipChange.add(members("n3")))
    assert not group.cluster.core("n3").removed
    assert group.agreed()


def test_a_node_that_joins_by_snapshot_knows_the_members() -> None:
    group = Group("n1", "n2", "n3", joining="n4")
    group.elect("n1")
    group.cluster.propose("n1", *(b"x" for _ in range(20)))
    group.run(1)
    group.cluster.compact("n1", 20)
    group.change(MembershipChange.add(members("n4")))
    assert group.cluster.core("n4").log.base_index == 20
    assert group.agreed()
    group.cluster.crash("n4")
    group.cluster.start(group.cluster.nodes["n4"])
    assert group.cluster.core("n4").configuration == group.cluster.core("n1").configuration


def test_a_learner_hears_of_everything_and_decides_nothing() -> None:
    group = Group("n1", "n2", "n3", joining="n4")
    group.elect("n1")
    group.change(MembershipChange.add((), members("n4")))
    group.cut = {"n2", "n3"}
    group.cluster.propose("n1", b"x")
    group.settle()
    assert group.cluster.core("n4").last_index == group.cluster.core("n1").last_index
    assert group.cluster.core("n1").commit < group.cluster.core("n1").last_index
    group.run(10)
    assert group.cluster.core("n4").role is Role.FOLLOWER
    assert group.leader is None


def test_the_leader_can_become_a_learner() -> None:
    group = Group("n1", "n2", "n3")
    group.elect("n1")
    group.change(MembershipChange.demote("n1"))
    assert group.leader in ("n2", "n3")
    assert not group.cluster.core("n1").removed
    assert group.agreed()


def test_no_handover_while_members_change_and_no_change_during_a_handover() -> None:
    group = Group("n1", "n2", "n3")
    group.elect("n1")
    core = group.cluster.core("n1")
    core.change_membership(MembershipChange.add(members("n4")), "c", group.cluster.now)
    with pytest.raises(ChangeInProgressError):
        core.transfer_leadership("n2", group.cluster.now)
    assert core.abandon_change(group.cluster.now)
    core.transfer_leadership("n2", group.cluster.now)
    with pytest.raises(NotLeaderError, match="handed to n2"):
        core.change_membership(MembershipChange.remove("n3"), "c", group.cluster.now)


def test_reads_that_wait_when_the_voters_become_fewer_are_answered() -> None:
    group = Group("n1", "n2", "n3")
    group.elect("n1")
    group.cut = {"n3"}
    group.cluster.change("n1", MembershipChange.remove("n2"))
    group.cluster.read("n1", "r")
    group.run(1)
    group.cut = set()
    group.run(2)
    assert group.cluster.answers["r"] is not None


def test_a_leader_that_left_is_no_leader_soon() -> None:
    """Nobody takes over, nor says that it will not, and it steps down all the same."""
    group = Group("n1", "n2", "n3")
    group.elect("n1")
    for node in ("n2", "n3"):
        group.cluster.core(node).pause_elections()
    group.lose = lambda packet: isinstance(packet.message, bool)
    group.cluster.change("n1", MembershipChange.remove("n1"))
    group.settle()
    assert group.cluster.core("n1").role is Role.LEADER
    with pytest.raises(NotLeaderError):
        group.cluster.propose("n1", b"x")
    group.run(2.5)
    assert group.cluster.core("n1").role is Role.FOLLOWER
    for node in ("n2", "n3"):
        group.cluster.core(node).resume_elections(group.cluster.now)
    group.run(4)
    assert group.leader in ("n2", "n3")


def test_a_removed_node_that_restarts_is_told_again() -> None:
    """It has the entry, but does not know that it is committed: it may be needed, so it asks."""
    group = Group("n1", "n2", "n3")
    group.elect("n1")
    group.change(MembershipChange.remove("n3"))
    node = group.cluster.nodes["n3"]
    group.cluster.crash("n3")
    group.cluster.start(node)
    assert not node.up.removed
    group.run(3)
    assert node.up.removed
    assert node.up.next_deadline > group.cluster.now + 10, "from now on it asks rarely"
    assert group.leader == "n1"


def test_a_removed_node_tells_of_its_removal_when_it_knows() -> None:
    group = Group("n1", "n2", "n3")
    group.elect("n1")
    told: list[str] = []
    group.cluster.say = told.append
    group.change(MembershipChange.remove("n3"))
    assert told.count("  n3 is removed") == 1
    group.change(MembershipChange.add(members("n3")))
    assert told.count("  n3 is back") == 1


@pytest.mark.parametrize("writes", [0, 1, 7])
def test_what_a_removed_member_acknowledged_ends_below_its_return(writes: int) -> None:
    """`protocols.acked` outlives a replica and rests on this: all of it is committed by then."""
    group = Group("n1", "n2", "n3", "n4")
    group.elect("n1")
    cluster, acknowledged = group.cluster, -1

    def note(packet: Packet) -> bool:
        nonlocal acknowledged
        reply = packet.message
        if packet.source == "n4" and isinstance(reply, AppendReply) and reply.success:
            acknowledged = max(acknowledged, reply.match_index)
        return False

    group.lose = note
    cluster.change("n1", MembershipChange.remove("n4"))
    for number in range(writes):
        cluster.propose("n1", b"%d" % number)
    group.settle()
    assert acknowledged >= cluster.core("n1").commit - writes
    before = acknowledged
    with pytest.raises(ChangeInProgressError):
        cluster.propose("n1", b"uncommitted")
        cluster.change("n1", MembershipChange.remove("n3"))
        cluster.change("n1", MembershipChange.add(members("n4")))
    group.run(5)
    assert acknowledged == before, "a removed member is told nothing more"
    cluster.crash("n4")
    cluster.nodes["n4"].disk = Disk()
    cluster.join("n4")
    committed = cluster.core("n1").commit
    assert isinstance(group.change(MembershipChange.add(members("n4"))), Configuration)
    returns = next(
        entry.index
        for entry in cluster.core("n1").log.configurations
        if entry.index > committed and Configuration.decode(entry.data).is_voter("n4")
    )
    assert before <= committed < returns


def test_a_heartbeat_does_not_vouch_for_what_is_not_in_the_log() -> None:
    rig = Rig(term=1)
    rig.step(AppendRequest(1, "n2", 7, 1, (), 7, heartbeat=True), "h")
    assert not only_reply(rig.settle()).success
