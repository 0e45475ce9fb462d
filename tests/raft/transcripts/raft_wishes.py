"""The commands of transcripts that stand for applications, hosts and operators."""

from __future__ import annotations

from raft_looks import Looks
from raft_words import parse_member

from trioraft.raft import MembershipChange
from trioraft.raft.types import (
    Configuration,
)


class Wishes(Looks):
    """What is wanted of the cores in a `Story`. Errors of theirs come out."""

    def do_propose(self, node_id: str, *data: str) -> None:
        self.cluster.propose(node_id, *(d.encode() for d in data))

    def do_read(self, node_id: str, *tokens: str) -> None:
        self.cluster.read(node_id, *tokens)

    def do_leaseread(self, node_id: str, token: str) -> None:
        self.cluster.read(node_id, token, lease=True)

    def do_transfer(self, node_id: str, target: str | None = None) -> None:
        chosen = self.cluster.core(node_id).transfer_leadership(target, self.cluster.clock(node_id))
        self.say(f"  {node_id} hands over to {chosen}")
        self.cluster.flush(node_id)

    def do_stepdown(self, node_id: str) -> None:
        self.cluster.core(node_id).step_down(self.cluster.clock(node_id))
        self.cluster.flush(node_id)

    def do_elections(self, node_id: str, what: str) -> None:
        """elections n1 pause|resume"""
        core = self.cluster.core(node_id)
        if what == "pause":
            core.pause_elections()
        else:
            core.resume_elections(self.cluster.clock(node_id))

    def do_change(self, node_id: str, form: str, *words: str) -> None:
        """change n1 add|learners|set|remove|promote|demote|move|expect MEMBER...

        A member is n4, n4@address or n4:priority; expect takes n1,n2 first, then the new voters.
        """
        first, *rest = words
        members = tuple(map(parse_member, words))
        changes = {
            "add": lambda: MembershipChange.add(members),
            "learners": lambda: MembershipChange.add((), members),
            "set": lambda: MembershipChange.set(members),
            "remove": lambda: MembershipChange.remove(*words),
            "promote": lambda: MembershipChange.promote(*words),
            "demote": lambda: MembershipChange.demote(*words),
            "move": lambda: MembershipChange.update(*members),
            "expect": lambda: MembershipChange.compare_and_set(
                Configuration(tuple(map(parse_member, first.split(",")))),
                tuple(map(parse_member, rest)),
            ),
        }
        self.cluster.change(node_id, changes[form]())

    def do_abandon(self, node_id: str) -> None:
        given_up = self.cluster.core(node_id).abandon_change(self.cluster.clock(node_id))
        self.cluster.flush(node_id)
        if not given_up:
            self.say("  too late")

    def do_rest(self, *node_ids: str) -> None:
        for node_id in node_ids:
            resting = self.cluster.core(node_id).rest(self.cluster.clock(node_id))
            self.say(f"  {node_id} {'rests' if resting else 'cannot rest'}")

    def do_wake(self, *node_ids: str) -> None:
        for node_id in node_ids:
            self.cluster.core(node_id).wake(self.cluster.clock(node_id))

    def do_compact(self, node_id: str, keep_after: str) -> None:
        """compact n1 5: snapshot what is applied, forget the log up to entry 5"""
        self.cluster.compact(node_id, int(keep_after))
