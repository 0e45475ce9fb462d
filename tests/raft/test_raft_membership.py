"""Changes of members over whole groups: joint consensus, staging, removal, who leads after."""

from __future__ import annotations

from raft_group import Group, ids, members

from trioraft.raft.membership import MembershipChange


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
