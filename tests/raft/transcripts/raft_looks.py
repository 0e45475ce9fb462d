"""The commands of transcripts that only look: what they show of the cores."""

from __future__ import annotations

from raft_cluster import Cluster
from raft_words import show_configuration, show_term

from trioraft.raft.types import ReplicationLevel


class Looks:
    """The half of `Story` that changes nothing. Each narrates through `say`."""

    cluster: Cluster
    lines: list[str]

    def say(self, line: str) -> None:
        self.lines.append(line)

    def do_status(self) -> None:
        for node in self.cluster.nodes.values():
            if node.core is None:
                self.say(f"  {node.id} down")
                continue
            core = node.core
            log = core.log
            terms = " ".join(
                show_term(log.term_at(i)) for i in range(log.base_index + 1, core.last_index + 1)
            )
            behind = f"from {log.base_index + 1} " if log.base_index >= 0 else ""
            role = core.role.name.lower().replace("_", "-")
            term = show_term(core.term)
            self.say(f"  {node.id} {role} term {term} commit {core.commit} log {behind}[{terms}]")

    def do_members(self) -> None:
        """Whom each node takes for members, and how far a change has come."""
        for node in self.cluster.nodes.values():
            if node.core is not None:
                phase = node.core.change_phase
                told = f", {phase.value}" if phase else ""
                if node.core.staged:
                    told += f" {' '.join(node.core.staged)}"
                self.say(f"  {node.id}: {show_configuration(node.core.configuration)}{told}")

    def do_peers(self, node_id: str) -> None:
        """Whom this node must be able to reach."""
        self.say("  " + " ".join(f"{m.id}@{m.address}" for m in self.cluster.core(node_id).peers))

    def do_lease(self, node_id: str) -> None:
        valid = self.cluster.core(node_id).lease_valid(self.cluster.clock(node_id))
        self.say(f"  {node_id} has {'a' if valid else 'no'} lease")

    def do_levels(self, node_id: str) -> None:
        core = self.cluster.core(node_id)
        for level in ReplicationLevel:
            self.say(f"  {level.name.lower().replace('_', '-')} {core.replicated(level)}")

    def do_progress(self, leader: str) -> None:
        for follower in self.cluster.nodes:
            progress = self.cluster.core(leader).progress(follower)
            if progress is not None:
                self.say(
                    f"  {follower} {progress.state.name.lower()} match {progress.match_index}"
                    f" next {progress.next_index} in flight {len(progress.inflight)}"
                )
