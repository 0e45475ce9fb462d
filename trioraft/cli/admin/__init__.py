"""`trioraft admin`: who the members of a cluster are, who leads it, snapshots and elections."""

from __future__ import annotations

import click

from .changes import add, demote, promote, remove, set_members, update
from .look import groups, members
from .orders import elections, snapshot, transfer

__all__ = ["admin"]


@click.group()
def admin() -> None:
    """Look at a cluster's members and change them, its leader, its snapshots.

    Every command may be given any node of the cluster: it finds the leader.
    """


for command in (
    *(members, groups),
    *(add, update, remove, promote, demote, set_members),
    *(transfer, snapshot, elections),
):
    admin.add_command(command)
