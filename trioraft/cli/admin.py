"""`trioraft admin`: who the members of a cluster are, who leads it, snapshots and elections."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import click
import trio
from rich.console import Console

from trioraft.client.endpoints import parse_endpoints
from trioraft.client.failover import describe_failure
from trioraft.client.status import ask_all
from trioraft.protocols.local import admin as calls
from trioraft.raft.errors import TrioraftError
from trioraft.raft.membership import MembershipChange
from trioraft.raft.types import Configuration, Member
from trioraft.rpc import GRPCError

from .errors import explained
from .group_table import group_rows, group_table
from .member_table import member_rows, member_table
from .operate import ClusterView, at_leader, at_members, look, look_for_leader, watch_joining
from .options import endpoints_option
from .peers import parse_address, parse_member, parse_members

__all__ = ["admin"]

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")


@click.group()
def admin() -> None:
    """Look at a cluster's members and change them, its leader, its snapshots.

    Every command may be given any node of the cluster: it finds the leader.
    """


def _common(function: _F) -> _F:
    """Options that all commands share."""
    for option in (
        endpoints_option,
        click.option(
            "--group", default="", metavar="HEX", help="Id of the group, if a node has several."
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=60.0,
            show_default=True,
            metavar="SECONDS",
            help="How long to wait for the outcome.",
        ),
    ):
        function = option(function)
    return function


@admin.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_common
def members(as_json: bool, endpoints: str, group: str, timeout: float) -> None:
    """Show the members: their part, role, priority, and how far they lag behind.

    Exit status 1 if the group has no leader.
    """
    with explained():
        view = trio.run(look, endpoints, _group_id(group), min(timeout, 2.0))
    if as_json:
        click.echo(json.dumps({"leader": view.leader, "members": member_rows(view)}, indent=2))
    else:
        Console().print(member_table(view))
    if not view.leader:
        raise click.ClickException("the group has no leader now; shown is what one node knows.")


@admin.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--awake", is_flag=True, help="Only groups that do not rest.")
@click.option("--leaderless", is_flag=True, help="Only groups whose leader is not known.")
@endpoints_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each server.",
)
def groups(as_json: bool, awake: bool, leaderless: bool, endpoints: str, timeout: float) -> None:
    """List the groups of the servers at the endpoints: leader, term, commit index, rest.

    Exit status 1 if a server does not answer.
    """
    with explained():
        targets = parse_endpoints(endpoints)
        found = trio.run(partial(ask_all, timeout=timeout), targets)
    answers = dict(zip(targets, found, strict=True))
    failures: dict[str, str] = {}
    for target, answer in answers.items():
        if isinstance(answer, GRPCError):
            failures[target] = describe_failure(target, answer)
            continue
        wanted = [
            group
            for group in answer.groups
            if not (awake and group.resting) and not (leaderless and group.leader_id)
        ]
        del answer.groups[:]
        answer.groups.extend(wanted)
    if as_json:
        replies = [answer for answer in answers.values() if not isinstance(answer, GRPCError)]
        rows = [row for reply in replies for row in group_rows(reply)]
        click.echo(json.dumps({"groups": rows, "failures": failures}, indent=2))
    else:
        Console().print(group_table(answers, failures))
    if failures:
        raise click.ClickException(f"{len(failures)} of {len(targets)} servers do not answer.")


_priority_option = click.option(
    "--priority",
    type=click.IntRange(min=0, max=2**31 - 1),
    help="Of candidates with equally good logs the higher one is elected.",
)


@admin.command()
@click.argument("member", metavar="ID=HOST:PORT")
@click.option("--learner", is_flag=True, help="It gets the log, but no vote.")
@_priority_option
@_common
def add(member: str, learner: bool, priority: int | None, **where: Any) -> None:
    """Add a node that was started with --join.

    A new voter is brought up to date first; the command returns when it votes. Cancelling it
    (Ctrl-C) while the node catches up gives the addition up.
    """
    node_id, address = parse_member(member)
    new = (Member(node_id, address, priority or 0),)
    change = MembershipChange.add(learners=new) if learner else MembershipChange.add(new)
    _change(lambda _: change, f"{node_id} is a {'learner' if learner else 'voter'} now", **where)


@admin.command()
@click.argument("id")
@click.option("--address", metavar="HOST:PORT", help="Where its peers and clients dial it.")
@_priority_option
@_common
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


@admin.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_common
def remove(ids: tuple[str, ...], **where: Any) -> None:
    """Remove members, the leader or dead ones included. Stop their nodes afterwards.

    A removed node keeps its data and stays quiet. To use its id again, delete its data first.
    """
    _change(lambda _: MembershipChange.remove(*ids), f"removed {', '.join(ids)}", **where)


@admin.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_common
def promote(ids: tuple[str, ...], **where: Any) -> None:
    """Make voters of learners."""
    _change(lambda _: MembershipChange.promote(*ids), f"promoted {', '.join(ids)}", **where)


@admin.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_common
def demote(ids: tuple[str, ...], **where: Any) -> None:
    """Make learners of voters."""
    _change(lambda _: MembershipChange.demote(*ids), f"demoted {', '.join(ids)}", **where)


@admin.command("set")
@click.argument("voters", metavar="ID[=HOST:PORT],...")
@click.option("--learners", default="", metavar="ID[=HOST:PORT],...", help="Members without vote.")
@click.option(
    "--expect",
    metavar="ID,...",
    help="Only if these are the voters now: two operators then cannot undo each other's work.",
)
@_common
def set_(voters: str, learners: str, expect: str | None, **where: Any) -> None:
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


@admin.command()
@click.argument("target", metavar="[ID]", required=False)
@_common
def transfer(target: str | None, **where: Any) -> None:
    """Hand leadership to ID, or to the best of the others."""

    async def run(view: ClusterView) -> str:
        call = partial(calls.transfer_leadership, target=target, group_id=view.group_id)
        return await at_leader(view, call)

    click.echo(f"{_run(run, **where)} leads now")


@admin.command()
@click.argument("ids", metavar="[ID...]", nargs=-1)
@_common
def snapshot(ids: tuple[str, ...], **where: Any) -> None:
    """Take a snapshot on these members, by default on all, and compact their logs."""

    async def run(view: ClusterView) -> dict[str, tuple[int, int]]:
        return await at_members(view, ids, partial(calls.take_snapshot, group_id=view.group_id))

    for node_id, (index, size) in _run(run, **where).items():
        click.echo(f"{node_id}: snapshot at index {index}, {size} bytes")


@admin.command()
@click.argument("action", type=click.Choice(["pause", "resume"]))
@click.argument("ids", metavar="[ID...]", nargs=-1)
@_common
def elections(action: str, ids: tuple[str, ...], **where: Any) -> None:
    """Keep members, by default all, from standing for election, or let them again.

    A paused node votes and follows, and leads on if it leads. A restart forgets the pause. With
    all paused nobody takes over when the leader fails.
    """

    async def run(view: ClusterView) -> dict[str, None]:
        call = partial(calls.set_elections, paused=action == "pause", group_id=view.group_id)
        return await at_members(view, ids, call)

    click.echo(f"elections {action}d on {', '.join(_run(run, **where))}")


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

    now = _run(run, endpoints=endpoints, group=group, timeout=timeout)
    learners = ", ".join(m.id for m in now.learners)
    click.echo(
        f"{done}; voters: {', '.join(m.id for m in now.voters)}"
        + (f"; learners: {learners}" if learners else "")
    )


def _run(
    body: Callable[[ClusterView], Awaitable[_T]], *, endpoints: str, group: str, timeout: float
) -> _T:
    """Run `body` on what the cluster says of itself; errors become messages with advice."""

    async def main() -> _T:
        with trio.move_on_after(timeout):
            return await body(await look_for_leader(endpoints, _group_id(group), timeout))
        raise TrioraftError(
            f"no outcome within {timeout:g} s; it may still come. Look at `trioraft admin "
            "members`, or give it more --timeout."
        )

    with explained():
        return trio.run(main)


def _group_id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise click.UsageError(f"--group: {text!r} is not a group id in hex.") from None
