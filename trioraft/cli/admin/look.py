"""Commands that look: at the members of a group, at the groups of servers."""

from __future__ import annotations

import json
from functools import partial

import click
import trio
from rich.console import Console

from trioraft.cli.errors import explained
from trioraft.cli.options import endpoints_option
from trioraft.client.endpoints import parse_endpoints
from trioraft.client.failover import describe_failure
from trioraft.client.status import ask_all
from trioraft.rpc import GRPCError

from .cluster import look
from .common import common_options, parse_group_id
from .group_table import group_rows, group_table
from .member_table import member_rows, member_table

__all__ = ["groups", "members"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def members(as_json: bool, endpoints: str, group: str, timeout: float) -> None:
    """Show the members: their part, role, priority, and how far they lag behind.

    Exit status 1 if the group has no leader.
    """
    with explained():
        view = trio.run(look, endpoints, parse_group_id(group), min(timeout, 2.0))
    if as_json:
        click.echo(json.dumps({"leader": view.leader, "members": member_rows(view)}, indent=2))
    else:
        Console().print(member_table(view))
    if not view.leader:
        raise click.ClickException("the group has no leader now; shown is what one node knows.")


@click.command()
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
