"""Commands that tell nodes to do something: hand leadership over, take a snapshot, not to elect."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from trioraft.protocols.local import admin as calls

from .cluster import ClusterView, at_leader, at_members
from .common import common_options, run_at_cluster

__all__ = ["elections", "snapshot", "transfer"]


@click.command()
@click.argument("target", metavar="[ID]", required=False)
@common_options
def transfer(target: str | None, **where: Any) -> None:
    """Hand leadership to ID, or to the best of the others."""

    async def run(view: ClusterView) -> str:
        call = partial(calls.transfer_leadership, target=target, group_id=view.group_id)
        return await at_leader(view, call)

    click.echo(f"{run_at_cluster(run, **where)} leads now")


@click.command()
@click.argument("ids", metavar="[ID...]", nargs=-1)
@common_options
def snapshot(ids: tuple[str, ...], **where: Any) -> None:
    """Take a snapshot on these members, by default on all, and compact their logs."""

    async def run(view: ClusterView) -> dict[str, tuple[int, int]]:
        return await at_members(view, ids, partial(calls.take_snapshot, group_id=view.group_id))

    for node_id, (index, size) in run_at_cluster(run, **where).items():
        click.echo(f"{node_id}: snapshot at index {index}, {size} bytes")


@click.command()
@click.argument("action", type=click.Choice(["pause", "resume"]))
@click.argument("ids", metavar="[ID...]", nargs=-1)
@common_options
def elections(action: str, ids: tuple[str, ...], **where: Any) -> None:
    """Keep members, by default all, from standing for election, or let them again.

    A paused node votes and follows, and leads on if it leads. A restart forgets the pause. With
    all paused nobody takes over when the leader fails.
    """

    async def run(view: ClusterView) -> dict[str, None]:
        call = partial(calls.set_elections, paused=action == "pause", group_id=view.group_id)
        return await at_members(view, ids, call)

    click.echo(f"elections {action}d on {', '.join(run_at_cluster(run, **where))}")
