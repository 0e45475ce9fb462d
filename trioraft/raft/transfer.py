"""Handing leadership over on purpose (thesis §3.10).

The leader stops taking proposals, brings the target up to date and tells it to campaign at
once. If nothing has come of it within an election timeout, it goes on leading.
"""

from __future__ import annotations

from .errors import ConfigurationError, NotLeaderError
from .state import Leadership, State, Transfer
from .types import NodeId, StartElection

__all__ = ["ask_target", "give_up_late", "transfer_leadership"]


def transfer_leadership(s: State, target: NodeId | None) -> NodeId:
    """Begin a handover to `target`, or to the most caught-up voter; a newer one replaces it.

    Raises NotLeaderError, and ConfigurationError if the target is not another voter.
    """
    lead = s.leadership
    if lead is None:
        raise NotLeaderError(s.leader_id)
    voters = [p for p in lead.followers.values() if s.configuration.is_voter(p.id)]
    if target is None:
        if not voters:
            raise ConfigurationError("transfer: the group has no other voter")
        target = max(voters, key=lambda p: p.match_index).id
    elif all(p.id != target for p in voters):
        raise ConfigurationError(f"transfer to {target}: not another voter of the group")
    lead.transfer = Transfer(target, s.now + s.config.election_timeout_max)
    return target


def ask_target(s: State, lead: Leadership) -> None:
    """Ask the target of a handover, once it has everything, to campaign."""
    transfer = lead.transfer
    if transfer is None or transfer.asked:
        return
    if lead.followers[transfer.target].match_index == s.log.last_index:
        transfer.asked = True
        request = StartElection(s.term, s.node_id, s.log.last_index, s.log.last_term)
        s.outbox.messages.append((transfer.target, request))


def give_up_late(s: State, lead: Leadership) -> None:
    """Take proposals again if the target has not taken over in time."""
    if lead.transfer is not None and s.now >= lead.transfer.deadline:
        lead.transfer = None
