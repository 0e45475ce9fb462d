"""Commands that change who the members of a cluster are, and show how it goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import click
import trio
from rich.console import Console

from trioraft.cli.peers import parse_address, parse_member, parse_members
from trioraft.client.failover import describe_failure
from trioraft.client.status import fetch_status
from trioraft.protocols.local import admin as calls
from trioraft.raft.errors import ConfigurationError
from trioraft.raft.membership import MembershipChange
from trioraft.raft.types import Configuration, Member
from trioraft.rpc import GRPCError, Status

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
@click.option("--absent", is_flag=True, help="Add a learner that does not run yet.")
@_priority_option
@common_options
def add(member: str, learner: bool, absent: bool, priority: int | None, **where: Any) -> None:
    """Add a node that was started with --join.

    A new voter is brought up to date first; the command returns when it votes. Cancelling it
    (Ctrl-C) while the node catches up gives the addition up. A learner is added at once, if it
    answers.
    """
    if absent and not learner:
        raise click.UsageError("--absent goes with --learner: a voter has to catch up first.")
    node_id, address = parse_member(member)
    new = (Member(node_id, address, priority or 0),)
    change = MembershipChange.add(learners=new) if learner else MembershipChange.add(new)

    async def check(_: ClusterView) -> None:
        if learner and not absent:
            await _check_joiner(node_id, address)

    done = f"{node_id} is a {'learner' if learner else 'voter'} now"
    _change(lambda _: change, lambda _: done, check=check, **where)


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

    _change(change, lambda _: f"{id} is updated", **where)


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@common_options
def remove(ids: tuple[str, ...], **where: Any) -> None:
    """Remove members, the leader or dead ones included. Stop their nodes afterwards.

    A removed node keeps its data and stays quiet. To use its id again, delete its data first.
    """
    done = f"removed {', '.join(ids)}"
    _change(lambda _: MembershipChange.remove(*ids), lambda _: done, **where)


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@common_options
def promote(ids: tuple[str, ...], **where: Any) -> None:
    """Make voters of learners."""
    _change(
        lambda _: MembershipChange.promote(*ids),
        lambda view: _what_changed(view, ids, "promoted", "voter"),
        **where,
    )


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@common_options
def demote(ids: tuple[str, ...], **where: Any) -> None:
    """Make learners of voters."""
    _change(
        lambda _: MembershipChange.demote(*ids),
        lambda view: _what_changed(view, ids, "demoted", "learner"),
        **where,
    )


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

    _change(change, lambda _: "done", **where)


async def _check_joiner(node_id: str, address: str) -> None:
    """Raises ConfigurationError if nobody answers there, or another node than is meant.

    A server of another make, which has no such call, will do.
    """
    try:
        found = (await fetch_status(address)).node_id
    except GRPCError as error:
        if error.status is Status.UNIMPLEMENTED:
            return
        raise ConfigurationError(
            f"nothing was changed: no node answers at {address} "
            f"({describe_failure(address, error)}). Start {node_id} there with --join, or say "
            "--absent if it is to be a learner before it runs"
        ) from error
    if found != node_id:
        raise ConfigurationError(
            f"nothing was changed: the node at {address} is {found}, not {node_id}"
        )


async def _check_nothing(_: ClusterView) -> None:
    """What need not be looked at before."""


def _what_changed(view: ClusterView, ids: tuple[str, ...], verb: str, part: str) -> str:
    """Which of them were changed, and which were what was asked for already."""
    already = [m.node_id for m in view.members if m.part == part and m.node_id in ids]
    changed = [node_id for node_id in ids if node_id not in already]
    said = [f"{verb} {', '.join(changed)}"] if changed else []
    return "; ".join([*said, *(f"{node_id} is a {part} already" for node_id in already)])


def _change(
    make: Callable[[ClusterView], MembershipChange],
    done: Callable[[ClusterView], str],
    *,
    check: Callable[[ClusterView], Awaitable[None]] = _check_nothing,
    endpoints: str,
    group: str,
    timeout: float,
) -> None:
    """Have the members changed, show how new ones catch up, and say what came of it."""
    console = Console(stderr=True)

    async def run(view: ClusterView) -> tuple[str, Configuration]:
        change = make(view)
        await check(view)
        call = partial(calls.change_membership, change=change, group_id=view.group_id)
        with console.status("changing the members") as line:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch_joining, endpoints, view.group_id, 2.0, line.update)
                now = await at_leader(view, call)
                nursery.cancel_scope.cancel()
        return done(view), now

    said, now = run_at_cluster(run, endpoints=endpoints, group=group, timeout=timeout)
    learners = ", ".join(m.id for m in now.learners)
    click.echo(
        f"{said}; voters: {', '.join(m.id for m in now.voters)}"
        + (f"; learners: {learners}" if learners else "")
    )
