"""Commands that change who the members of a cluster are, and show how it goes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click
import trio
from rich.console import Console

from trioraft.cli.peers import parse_address, parse_member, parse_members
from trioraft.protocols.local import admin as calls
from trioraft.raft.membership import MembershipChange
from trioraft.raft.types import Configuration, Member

from .cluster import ClusterView, at_leader, watch_joining
from .common import common_options, run_at_cluster

__all__ = ["add", "demote", "promote", "remove", "set_members", "update"]

_priority_option = click.option(
    "--priority",
    type=click.IntRange(min=0, max=2**31 - 1),
    help="Of candidates with equally good logs the higher one is elected.",
)


@click.command()
@click.argument("member", metavar="ID=HOST:PORT")
@click.option("--learner", is_flag=True, help="It gets the log, but no vote.")
@_priority_option
@common_options
def add(member: str, learner: bool, priority: int | None, **where: Any) -> None:
    """Add a node that was started with --join.

    A new voter is brought up to date first; the command returns when it votes. Cancelling it
    (Ctrl-C) while the node catches up gives the addition up.
    """
    node_id, address = parse_member(member)
    new = (Member(node_id, address, priority or 0),)
    change = MembershipChange.add(learners=new) if learner else MembershipChange.add(new)
    _change(lambda _: change, f"{node_id} is a {'learner' if learner else 'voter'} now", **where)


@click.command()
@click.argument("id")
@click.option("--address", metavar="HOST:PORT", help="Where its peers and clients dial it.")
@_priority_option
@common_options
def update(id: str, address: str | None, priority: int | None, **where: Any) -> None:
    """Change a member's address or priority; it stays what it is.

    A member that moves is restarted at its new place with its data and --join.
    """

    def change(view: ClusterView) -> MembershipChange:
        present = view.member(id)
        return MembershipChange.update(
            Member(
                id,
                present.address if address is None else parse_address(address, "--address"),
                present.priority if priority is None else priority,
            )
        )

    _change(change, f"{id} is updated", **where)


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@common_options
def remove(ids: tuple[str, ...], **where: Any) -> None:
    """Remove members, the leader or dead ones included. Stop their nodes afterwards.

    A removed node keeps its data and stays quiet. To use its id again, delete its data first.
    """
    _change(lambda _: MembershipChange.remove(*ids), f"removed {', '.join(ids)}", **where)


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@common_options
def promote(ids: tuple[str, ...], **where: Any) -> None:
    """Make voters of learners."""
    _change(lambda _: MembershipChange.promote(*ids), f"promoted {', '.join(ids)}", **where)


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@common_options
def demote(ids: tuple[str, ...], **where: Any) -> None:
    """Make learners of voters."""
    _change(lambda _: MembershipChange.demote(*ids), f"demoted {', '.join(ids)}", **where)


@click.command("set")
@click.argument("voters", metavar="ID[=HOST:PORT],...")
@click.option("--learners", default="", metavar="ID[=HOST:PORT],...", help="Members without vote.")
@click.option(
    "--expect",
    metavar="ID,...",
    help="Only if these are the voters now: two operators then cannot undo each other's work.",
)
@common_options
def set_members(voters: str, learners: str, expect: str | None, **where: Any) -> None:
    """Have exactly these voters and learners. Members keep their address if none is given."""

    def change(view: ClusterView) -> MembershipChange:
        known = {m.node_id: Member(m.node_id, m.address, m.priority) for m in view.members}
        wanted = parse_members(voters, known), parse_members(learners, known)
        if expect is None:
            return MembershipChange.set(*wanted)
        expected = Configuration(
            tuple(known.get(name, Member(name, "")) for name in expect.split(",")),
            tuple(known[m.node_id] for m in view.members if m.part == "learner"),
        )
        return MembershipChange.compare_and_set(expected, *wanted)

    _change(change, "done", **where)


def _change(
    make: Callable[[ClusterView], MembershipChange],
    done: str,
    *,
    endpoints: str,
    group: str,
    timeout: float,
) -> None:
    """Have the members changed, show how new ones catch up, and say what came of it."""
    console = Console(stderr=True)

    async def run(view: ClusterView) -> Configuration:
        change = make(view)
        call = partial(calls.change_membership, change=change, group_id=view.group_id)
        with console.status("changing the members") as line:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch_joining, endpoints, view.group_id, 2.0, line.update)
                now = await at_leader(view, call)
                nursery.cancel_scope.cancel()
        return now

    now = run_at_cluster(run, endpoints=endpoints, group=group, timeout=timeout)
    learners = ", ".join(m.id for m in now.learners)
    click.echo(
        f"{done}; voters: {', '.join(m.id for m in now.voters)}"
        + (f"; learners: {learners}" if learners else "")
    )
