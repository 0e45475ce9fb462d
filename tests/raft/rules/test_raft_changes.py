"""What a change of members asks for, as arithmetic on configurations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raft_group import ids, member, members

from trioraft.raft.errors import ConfigurationError, ConfigurationMismatchError
from trioraft.raft.membership import MAX_MEMBERS, MembershipChange, needs_joint
from trioraft.raft.types import Configuration, Member

GROUP = Configuration(members("n1", "n2", "n3"), members("n4"))


def applied(change: MembershipChange) -> tuple[list[str], list[str]]:
    return ids(change.applied_to(GROUP))


def test_the_forms() -> None:
    assert applied(MembershipChange.set(members("n1", "n5"))) == (["n1", "n5"], [])
    assert applied(MembershipChange.add(members("n5"))) == (["n1", "n2", "n3", "n5"], ["n4"])
    assert applied(MembershipChange.add((), members("n5"))) == (["n1", "n2", "n3"], ["n4", "n5"])
    assert applied(MembershipChange.remove("n2", "n4")) == (["n1", "n3"], [])
    assert applied(MembershipChange.promote("n4")) == (["n1", "n2", "n3", "n4"], [])
    assert applied(MembershipChange.demote("n1")) == (["n2", "n3"], ["n4", "n1"])
    expected = Configuration(members("n3", "n2", "n1"), members("n4"))
    assert applied(MembershipChange.compare_and_set(expected, members("n1"))) == (["n1"], [])


def test_adding_a_known_member_on_the_other_side_moves_it() -> None:
    assert applied(MembershipChange.add(members("n4"))) == (["n1", "n2", "n3", "n4"], [])
    assert applied(MembershipChange.add((), members("n1"))) == (["n2", "n3"], ["n4", "n1"])


def test_an_update_changes_address_and_priority_and_nothing_else() -> None:
    moved = MembershipChange.update(Member("n4", "new:1", 7), Member("n1", "new:2")).applied_to(
        GROUP
    )
    assert ids(moved) == ids(GROUP)
    assert moved.member("n4") == Member("n4", "new:1", 7)
    assert moved.member("n1") == Member("n1", "new:2")
    assert not needs_joint(GROUP, moved)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (MembershipChange.set(()), "names nobody"),
        (MembershipChange.set((), members("n1")), "at least one voter"),
        (MembershipChange.remove("n1", "n2", "n3"), "at least one voter"),
        (MembershipChange.remove("n9"), "n9 is not a member; members are n1, n2, n3, n4"),
        (MembershipChange.promote("n9"), "not a member"),
        (MembershipChange.demote("n9"), "not a member"),
        (MembershipChange.update(member("n9")), "not a member"),
        (MembershipChange.remove("n1", "n1"), "n1 is named twice"),
        (MembershipChange.add(members("n5"), members("n5")), "n5 is named twice"),
        (MembershipChange.add((Member("n5", ""),)), "both are needed"),
        (MembershipChange.add((Member("", "a:1"),)), "both are needed"),
        (MembershipChange.add((Member("n5", "a:1", -1),)), "priority -1 of n5"),
        (MembershipChange.add((Member("n5", "a:1", 1 << 31),)), "priority"),
        (MembershipChange.add(members(*(f"m{n}" for n in range(MAX_MEMBERS)))), "above the limit"),
    ],
)
def test_what_cannot_be(change: MembershipChange, error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        change.applied_to(GROUP)


@pytest.mark.parametrize(
    "expected",
    [
        Configuration(members("n1", "n2"), members("n4")),
        Configuration(members("n1", "n2", "n3")),
        Configuration(members("n1", "n2", "n3", "n4")),
    ],
)
def test_compare_and_set_compares(expected: Configuration) -> None:
    with pytest.raises(ConfigurationMismatchError, match="n1, n2, n3"):
        MembershipChange.compare_and_set(expected, members("n1")).applied_to(GROUP)


names = st.sampled_from([f"n{n}" for n in range(8)])


@given(st.lists(names, unique=True, min_size=1), st.lists(names, unique=True, min_size=1))
def test_add_then_remove_is_where_it_began(first: list[str], more: list[str]) -> None:
    start = Configuration(members(*first))
    new = [i for i in more if i not in first]
    if new:
        grown = MembershipChange.add(members(*new)).applied_to(start)
        assert needs_joint(start, grown)
        assert MembershipChange.remove(*new).applied_to(grown) == start


@given(st.lists(names, unique=True, min_size=2), st.data())
def test_demote_and_promote_keep_everybody(first: list[str], data: st.DataObject) -> None:
    start = Configuration(members(*first))
    one = data.draw(st.sampled_from(first))
    demoted = MembershipChange.demote(one).applied_to(start)
    assert not demoted.is_voter(one)
    assert {m.id for m in demoted.members()} == set(first)
    back = MembershipChange.promote(one).applied_to(demoted)
    assert not needs_joint(start, back)


def test_in_a_joint_configuration_members_are_as_they_will_be() -> None:
    joint = Configuration(
        (Member("n1", "new"),), (Member("n2", "new"),), (Member("n1", "old"), Member("n2", "old"))
    )
    assert [m.address for m in joint.members()] == ["new", "new"]
    assert joint.is_voter("n2")
