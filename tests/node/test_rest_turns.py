"""Whose turn it is to look for a group's leader: every replica finds the same order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any, cast

from trioraft.node.rest import GroupRest
from trioraft.raft.tracking.quorum import Quorum
from trioraft.raft.types import Configuration, Member

NODES = ("n1", "n2", "n3")


def turn(
    number: int,
    node: str,
    *,
    lost: str | None = None,
    away: Collection[str] = (),
    priorities: dict[str, int] | None = None,
) -> int | None:
    configuration = Configuration(
        tuple(Member(n, f"{n}:1", (priorities or {}).get(n, 0)) for n in NODES),
        (Member("n4", "n4:1"),),
    )
    quorum = Quorum(configuration)
    core = SimpleNamespace(
        node_id=node,
        configuration=configuration,
        quorum_without=lambda gone: quorum.agreed(lambda v: int(v not in gone), 0) == 1,
    )
    rest = GroupRest(number.to_bytes(16, "big"), cast(Any, core), cast(Any, None))
    return rest.turn(lost, lambda member: member.id not in away)


def test_replicas_agree_and_groups_are_shared_evenly() -> None:
    first: Counter[str] = Counter()
    for number in range(600):
        order = {turn(number, node): node for node in NODES}
        assert sorted(cast(Any, order)) == [0, 1, 2]
        first[order[0]] += 1
    assert min(first.values()) > 150


def test_survivors_share_the_groups_of_a_lost_leader() -> None:
    heirs: Counter[str] = Counter()
    for number in range(600):
        turns = {node: turn(number, node, lost="n2", away=["n2"]) for node in ("n1", "n3")}
        assert sorted(cast(Any, turns.values())) == [0, 1]
        heirs[min(turns, key=lambda node: cast(int, turns[node]))] += 1
    assert min(heirs.values()) > 240


def test_the_highest_priority_in_reach_comes_first() -> None:
    priorities = {"n3": 2, "n1": 1}
    for number in range(50):
        assert turn(number, "n3", priorities=priorities) == 0
        assert turn(number, "n1", priorities=priorities) == 1
        assert turn(number, "n1", priorities=priorities, away=["n3"]) == 0


def test_without_a_quorum_in_reach_it_is_nobodys_turn() -> None:
    assert turn(1, "n1", away=["n2", "n3"]) is None
    assert turn(1, "n1", lost="n2", away=["n3"]) == 0, "the lost leader's server is back, and votes"
