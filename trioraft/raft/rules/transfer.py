"""Handing leadership over on purpose (thesis §3.10).

The leader stops taking proposals, brings the target up to date and tells it to campaign at
once. If the target refuses, or nothing has come of it within an election timeout, it goes on
leading, unless it has been removed from the voters: then it steps down all the same (thesis
§4.2.2).
"""

from __future__ import annotations

from trioraft.raft.errors import ChangeInProgressError, ConfigurationError, NotLeaderError
from trioraft.raft.leadership import Leadership, Transfer
from trioraft.raft.messages import StartElection
from trioraft.raft.state import State
from trioraft.raft.tracking.progress import Progress, ProgressState
from trioraft.raft.types import NodeId

from .roles import become_follower

__all__ = [
    "ask_target",
    "give_up_late",
    "handover_refused",
    "offer_to_better",
    "retire",
    "step_down",
    "transfer_leadership",
]

# Longest election timeouts between two offers of leadership to voters of higher priority, and
# what that grows to, for one voter, by doubling while it lets offer after offer pass: proposals
# wait for the answer to each.
OFFER_TIMEOUTS = 10
MAX_OFFER_TIMEOUTS = 160


def transfer_leadership(s: State, target: NodeId | None) -> NodeId:
    """Begin a handover to `target`, or to the best voter; a newer one replaces it.

    Raises NotLeaderError, ChangeInProgressError while the members are being changed, and
    ConfigurationError if the target is not another voter, or could not win: with priorities
    it must have the highest of the group.
    """
    lead = s.leadership
    if lead is None:
        raise NotLeaderError(s.leader_id)
    if lead.change is not None or s.configuration.is_joint:
        raise ChangeInProgressError("leadership stays here until the members are changed")
    if target is None:
        best = _best(s, lead)
        if best is None:
            raise ConfigurationError("transfer: the group has no other voter")
        target = best.id
    elif target == s.node_id or not s.configuration.is_voter(target):
        raise ConfigurationError(f"transfer to {target}: not another voter of the group")
    elif s.config.priorities:
        highest = max(m.priority for m in s.configuration.voters)
        if s.priority_of(target) < highest:
            raise ConfigurationError(
                f"transfer to {target}: it does not have the highest priority, {highest}"
            )
    leaving = lead.transfer is not None and lead.transfer.leaving
    lead.transfer = Transfer(target, s.now + s.config.election_timeout_max, leaving=leaving)
    lead.refused_by = None
    return target


def step_down(s: State) -> None:
    """Stop leading, whoever comes next. Raises NotLeaderError."""
    if s.leadership is None:
        raise NotLeaderError(s.leader_id)
    become_follower(s, s.term)


def retire(s: State, lead: Leadership) -> None:
    """This leader is no voter any more: hand over to the best, and step down in any case."""
    if lead.transfer is not None:
        lead.transfer.leaving = True
    elif (best := _best(s, lead)) is not None:
        deadline = s.now + s.config.election_timeout_max
        lead.transfer = Transfer(best.id, deadline, leaving=True)


def offer_to_better(s: State, lead: Leadership) -> None:
    """With priorities: let a voter of higher priority lead, once it has what is committed."""
    if (
        s.now < lead.yield_due
        or lead.transfer is not None
        or lead.change is not None
        or s.configuration.is_joint
        or s.commit < lead.term_start
    ):
        return
    best = _best(s, lead)
    if (
        best is not None
        and s.priority_of(best.id) > s.priority_of(s.node_id)
        and best.state is ProgressState.REPLICATE
        and best.match_index >= s.commit
        and s.now >= best.offer_due
        and _answers(s, best)
    ):
        best.offer_pause = min(2 * best.offer_pause or OFFER_TIMEOUTS, MAX_OFFER_TIMEOUTS)
        best.offer_due = s.now + best.offer_pause * s.config.election_timeout_max
        lead.yield_due = s.now + OFFER_TIMEOUTS * s.config.election_timeout_max
        lead.transfer = Transfer(best.id, s.now + s.config.election_timeout_min)


def ask_target(s: State, lead: Leadership) -> None:
    """Ask the target of a handover, once it has everything, to campaign.

    Everything is committed by then, too: who waits here for a write is answered, and not told that
    leadership was lost.
    """
    transfer = lead.transfer
    if transfer is None or transfer.asked or s.commit < s.log.last_index:
        return
    if lead.followers[transfer.target].match_index == s.log.last_index:
        transfer.asked = lead.lease_void = True
        request = StartElection(s.term, s.node_id, s.log.last_index, s.log.last_term)
        s.outbox.messages.append((transfer.target, request))


def handover_refused(s: State, target: NodeId, term: int) -> None:
    """The target will not campaign: take proposals again at once.

    A refusal that comes late, of a handover before the present one to the same target, only
    ends this one early: the target may take over all the same. `lease_void` stays for that.
    """
    lead = s.leadership
    if lead is None or lead.transfer is None or term != s.term:
        return
    if lead.transfer.asked and lead.transfer.target == target:
        lead.refused_by = target
        _give_up(s, lead, lead.transfer)


def give_up_late(s: State, lead: Leadership) -> None:
    """Take proposals again if the target has not taken over in time."""
    if lead.transfer is not None and s.now >= lead.transfer.deadline:
        _give_up(s, lead, lead.transfer)


def _give_up(s: State, lead: Leadership, transfer: Transfer) -> None:
    if transfer.leaving:
        become_follower(s, s.term)
    else:
        lead.transfer = None


def _best(s: State, lead: Leadership) -> Progress | None:
    """The other voter that should lead: one that answers, of high priority, with most entries."""
    others = [lead.followers[m.id] for m in s.configuration.voters if m.id != s.node_id]

    def merit(progress: Progress) -> tuple[bool, int, int]:
        priority = s.priority_of(progress.id) if s.config.priorities else 0
        return _answers(s, progress), priority, progress.match_index

    return max(others, key=merit, default=None)


def _answers(s: State, progress: Progress) -> bool:
    return s.now - progress.contact < s.config.election_timeout_max
