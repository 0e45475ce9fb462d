"""Whether entries had come as far as a watch says: what nodes knew and what their disks held."""

from __future__ import annotations

from trioraft.raft.types import NO_INDEX, Configuration, NodeId, ReplicationLevel, Role

from .cluster import SimCluster
from .invariants import InvariantViolatedError

__all__ = ["LevelWatch"]


class LevelWatch:
    """One watch, from before it is asked for.

    Levels are counted over the voters that the answering leader had. So all but MAJORITY are
    judged only if the nodes that run agree on these, before and after.
    """

    def __init__(self, cluster: SimCluster, level: ReplicationLevel) -> None:
        self._cluster = cluster
        self._level = level
        self._before = _agreed_configuration(cluster)

    def judge(self, reached: int) -> bool:
        """The watch said `reached`. False if nobody can tell whether it was right to.

        Raises InvariantViolatedError.
        """
        invariants, level = self._cluster.invariants, self._level
        if reached > invariants.newest_commit:
            raise InvariantViolatedError(
                f"{level.name} is said to have reached {reached}, and {invariants.newest_commit} "
                "is the last entry that anybody knows to be committed"
            )
        if level is ReplicationLevel.MAJORITY:
            return True
        if self._before is None or _agreed_configuration(self._cluster) != self._before:
            return False
        told = invariants.told if level is not ReplicationLevel.ALL else invariants.durable
        voters = [member.id for member in self._before[1].voters]
        there = [voter for voter in voters if told.get(voter, NO_INDEX) >= reached]
        majority = level is ReplicationLevel.MAJORITY_COMMITTED
        if len(there) < (len(voters) // 2 + 1 if majority else len(voters)):
            _complain(level, reached, voters, there)
        return True


def _agreed_configuration(cluster: SimCluster) -> tuple[int, Configuration] | None:
    """The configuration, and its index, of all that run and are members of it or lead.

    None if they differ, or while it is joint.
    """
    leader = cluster.leader()
    if leader is None:
        return None
    core = cluster.nodes[leader].group.core
    index, configuration = core.configuration_index, core.configuration
    if configuration.is_joint:
        return None
    for name, node in cluster.nodes.items():
        involved = configuration.member(name) is not None or node.role is Role.LEADER
        if involved and node.group.core.configuration_index != index:
            return None
    return index, configuration


def _complain(
    level: ReplicationLevel, reached: int, voters: list[NodeId], there: list[NodeId]
) -> None:
    raise InvariantViolatedError(
        f"{level.name} is said to have reached {reached}; of the voters {', '.join(voters)} "
        f"it has only at {', '.join(there) or 'nobody'}"
    )
