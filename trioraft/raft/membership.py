"""Changes of a group's members, as values: what is asked for, and what it makes of the group.

Pure arithmetic on configurations (Raft §6, thesis chapter 4; the forms are Ratis's set, add and
compare-and-set). How a change is carried through the log is in `reconfiguration`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum

from .errors import ConfigurationError, ConfigurationMismatchError
from .types import Configuration, Member, NodeId

__all__ = ["MAX_MEMBERS", "ChangeMode", "MembershipChange", "needs_joint"]

# Voters and learners of one group together; every one of them costs the leader a stream.
MAX_MEMBERS = 128
MAX_PRIORITY = (1 << 31) - 1  # Ratis's wire holds a Java int


class ChangeMode(IntEnum):
    """How a change names its result; the first two and the last have Ratis's numbers."""

    SET = 0  # exactly these voters and learners
    ADD = 1  # these, merged over the members that there are
    COMPARE_AND_SET = 2  # SET, if the members are those that are expected
    REMOVE = 3  # all but these
    PROMOTE = 4  # these learners become voters
    DEMOTE = 5  # these voters become learners
    UPDATE = 6  # other addresses or priorities of members, whatever part they have


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """A wish for other members. The class methods make its forms.

    voters, learners: for SET, ADD and COMPARE_AND_SET. A member that is listed again may have
        another address or priority; one that is listed on the other side changes its part.
    members: for UPDATE.
    ids: for REMOVE, PROMOTE and DEMOTE.
    expected_voters, expected_learners: for COMPARE_AND_SET, in any order.
    """

    mode: ChangeMode
    voters: tuple[Member, ...] = ()
    learners: tuple[Member, ...] = ()
    ids: tuple[NodeId, ...] = ()
    members: tuple[Member, ...] = ()
    expected_voters: tuple[NodeId, ...] = ()
    expected_learners: tuple[NodeId, ...] = ()

    @classmethod
    def set(cls, voters: tuple[Member, ...], learners: tuple[Member, ...] = ()) -> MembershipChange:
        """Exactly these members."""
        return cls(ChangeMode.SET, voters, learners)

    @classmethod
    def add(
        cls, voters: tuple[Member, ...] = (), learners: tuple[Member, ...] = ()
    ) -> MembershipChange:
        """These members too."""
        return cls(ChangeMode.ADD, voters, learners)

    @classmethod
    def compare_and_set(
        cls,
        expected: Configuration,
        voters: tuple[Member, ...],
        learners: tuple[Member, ...] = (),
    ) -> MembershipChange:
        """These members, if the present ones have the ids that `expected` has."""
        return cls(
            ChangeMode.COMPARE_AND_SET,
            voters,
            learners,
            expected_voters=tuple(m.id for m in expected.voters),
            expected_learners=tuple(m.id for m in expected.learners),
        )

    @classmethod
    def remove(cls, *ids: NodeId) -> MembershipChange:
        """Without these, be they voters or learners."""
        return cls(ChangeMode.REMOVE, ids=ids)

    @classmethod
    def promote(cls, *ids: NodeId) -> MembershipChange:
        """These learners become voters."""
        return cls(ChangeMode.PROMOTE, ids=ids)

    @classmethod
    def demote(cls, *ids: NodeId) -> MembershipChange:
        """These voters become learners."""
        return cls(ChangeMode.DEMOTE, ids=ids)

    @classmethod
    def update(cls, *members: Member) -> MembershipChange:
        """Other addresses or priorities; a learner stays one, and a voter."""
        return cls(ChangeMode.UPDATE, members=members)

    def applied_to(self, current: Configuration) -> Configuration:
        """The configuration that this change asks for; `current` is not joint.

        Raises ConfigurationError for what cannot be (no voters, an id twice, unknown ids,
        too many members), and ConfigurationMismatchError if others are members than expected.
        """
        if self.mode is ChangeMode.COMPARE_AND_SET:
            self._check_expected(current)
        self._check_ids()
        known = {m.id: m for m in current.members()}
        voters = {m.id: m for m in current.voters}
        learners = {m.id: m for m in current.learners}
        if self.mode in (ChangeMode.SET, ChangeMode.COMPARE_AND_SET):
            voters, learners = {}, {}
        for member in self.voters:
            learners.pop(member.id, None)
            voters[member.id] = member
        for member in self.learners:
            voters.pop(member.id, None)
            learners[member.id] = member
        for node_id in (*self.ids, *(m.id for m in self.members)):
            if node_id not in known:
                raise ConfigurationError(f"{node_id} is not a member; members are {_names(known)}")
        for member in self.members:
            (voters if member.id in voters else learners)[member.id] = member
        for node_id in self.ids:
            member = known[node_id]
            voters.pop(node_id, None)
            learners.pop(node_id, None)
            if self.mode is ChangeMode.PROMOTE:
                voters[node_id] = member
            elif self.mode is ChangeMode.DEMOTE:
                learners[node_id] = member
        wanted = Configuration(tuple(voters.values()), tuple(learners.values()))
        _check(wanted)
        return wanted

    def _check_ids(self) -> None:
        named = [*self.ids, *(m.id for m in (*self.voters, *self.learners, *self.members))]
        twice = [node_id for node_id, count in Counter(named).items() if count > 1]
        if twice:
            raise ConfigurationError(f"{twice[0]} is named twice in the change of members")
        if not named:
            raise ConfigurationError("the change of members names nobody")

    def _check_expected(self, current: Configuration) -> None:
        voters = sorted(m.id for m in current.voters)
        learners = sorted(m.id for m in current.learners)
        if (sorted(self.expected_voters), sorted(self.expected_learners)) != (voters, learners):
            raise ConfigurationMismatchError(
                f"the voters are {', '.join(voters)} and the learners "
                f"{', '.join(learners) or 'none'}, which is not what was expected"
            )


def needs_joint(current: Configuration, wanted: Configuration) -> bool:
    """Other nodes vote than before, so two majorities must agree for a while (Raft §6).

    Learners, addresses and priorities change no majority: one entry is enough for them.
    """
    return sorted(m.id for m in current.voters) != sorted(m.id for m in wanted.voters)


def _check(wanted: Configuration) -> None:
    members = wanted.members()
    if not wanted.voters:
        raise ConfigurationError("a group needs at least one voter")
    if len(members) > MAX_MEMBERS:
        raise ConfigurationError(f"{len(members)} members are above the limit of {MAX_MEMBERS}")
    for member in members:
        if not member.id or not member.address:
            raise ConfigurationError(f"member {member.id!r} at {member.address!r}: both are needed")
        if not 0 <= member.priority <= MAX_PRIORITY:
            raise ConfigurationError(
                f"priority {member.priority} of {member.id} is not in 0..{MAX_PRIORITY}"
            )


def _names(members: dict[NodeId, Member]) -> str:
    return ", ".join(members)
