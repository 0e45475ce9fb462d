"""Majorities against their definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioraft.raft import Quorum, Tally
from trioraft.raft.types import Configuration, Member

IDS = "abcdefg"


def configuration(voters: str, old: str = "") -> Configuration:
    return Configuration(
        tuple(Member(v, v) for v in voters), old_voters=tuple(Member(v, v) for v in old)
    )


voter_sets = st.sets(st.sampled_from(IDS), min_size=1).map(lambda ids: "".join(sorted(ids)))
old_sets = st.one_of(st.just(""), voter_sets)


@given(voter_sets, old_sets, st.fixed_dictionaries({i: st.integers(-1, 9) for i in IDS}))
def test_agreed_is_the_largest_value_that_every_majority_has_reached(
    voters: str, old: str, values: dict[str, int]
) -> None:
    def reached(value: int) -> bool:
        return all(
            sum(values[v] >= value for v in ids) * 2 > len(ids) for ids in (voters, old) if ids
        )

    agreed = Quorum(configuration(voters, old)).agreed(values.__getitem__, -2)
    assert reached(agreed)
    assert not reached(agreed + 1)


@given(voter_sets, old_sets, st.dictionaries(st.sampled_from(IDS), st.booleans()))
def test_tally_says_what_can_still_happen(voters: str, old: str, votes: dict[str, bool]) -> None:
    sets = [ids for ids in (voters, old) if ids]

    def wins(unknown: bool) -> bool:
        return all(sum(votes.get(v, unknown) for v in ids) * 2 > len(ids) for ids in sets)

    tally = Quorum(configuration(voters, old)).tally(votes)
    if wins(unknown=False):
        assert tally is Tally.WON
    elif wins(unknown=True):
        assert tally is Tally.PENDING
    else:
        assert tally is Tally.LOST


def test_nobody_can_agree_without_voters() -> None:
    nobody = Quorum(configuration(""))
    assert nobody.agreed(lambda _voter: 5, -1) == -1
    assert nobody.tally({"a": True}) is Tally.LOST
