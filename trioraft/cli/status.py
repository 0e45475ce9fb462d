"""`trioraft status`: what the nodes of a cluster say about themselves."""

from __future__ import annotations

import json
from typing import Any

import click
import trio
from google.protobuf.json_format import MessageToDict
from rich.console import Console

from trioraft._proto.local.node_pb2 import StatusReply
from trioraft.client.endpoints import parse_endpoints
from trioraft.client.failover import describe_failure
from trioraft.client.status import ask_all
from trioraft.host.management import ask_status
from trioraft.rpc import GRPCError

from .errors import explained
from .options import endpoints_option
from .table import Row, node_table

__all__ = ["status"]


@click.command()
@endpoints_option
@click.option("--socket", metavar="PATH", help="Ask one node through its --drpc-socket instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each node.",
)
def status(endpoints: str, socket: str | None, as_json: bool, timeout: float) -> None:
    """Show role, term, indices, keys and disk use of every node (members: trioraft admin members).

    Asks the endpoints, and the members of the cluster that they name. Exit status 1 if a node
    does not answer, after showing those that do.
    """
    with explained():
        rows = trio.run(_ask_socket, socket) if socket else trio.run(_ask, endpoints, timeout)
    if as_json:
        click.echo(json.dumps([_as_json(row) for row in rows], indent=2))
    else:
        Console().print(node_table(rows))
    if all(row.status is None for row in rows):
        raise click.ClickException(
            "no node answers. Check --endpoints, and that the nodes run (trioraft node --help)."
        )
    if any(row.status is None for row in rows):
        raise click.exceptions.Exit(1)


async def _ask_socket(path: str) -> list[Row]:
    return [Row(path, await ask_status(path))]


async def _ask(endpoints: str, timeout: float) -> list[Row]:
    """The endpoints first, then the members that they know and that were not asked."""
    targets = parse_endpoints(endpoints)
    rows = await _rows(targets, timeout)
    asked = {row.target for row in rows}
    asked |= {row.status.address for row in rows if row.status is not None}
    others = [address for row in rows for address in _members(row.status) if address not in asked]
    rows += await _rows(tuple(dict.fromkeys(others)), timeout)
    return rows


async def _rows(targets: tuple[str, ...], timeout: float) -> list[Row]:
    answers = await ask_all(targets, timeout=timeout)
    return [
        Row(target, None, describe_failure(target, answer))
        if isinstance(answer, GRPCError)
        else Row(target, answer)
        for target, answer in zip(targets, answers, strict=True)
    ]


def _members(reply: StatusReply | None) -> list[str]:
    if reply is None:
        return []
    return [member.address for group in reply.groups for member in group.members if member.address]


def _as_json(row: Row) -> dict[str, Any]:
    if row.status is None:
        return {"target": row.target, "error": row.failure}
    fields: dict[str, Any] = MessageToDict(
        row.status, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for group, message in zip(fields["groups"], row.status.groups, strict=True):
        group["group_id"] = message.group_id.hex()
        # protobuf's JSON makes strings of 64-bit integers; tools want numbers.
        for name in ("last_index", "commit_index", "applied_index", "snapshot_index"):
            group[name] = int(group[name])
        group["bytes_on_disk"] = int(group["bytes_on_disk"])
        for member in group["members"]:
            member["match_index"] = int(member["match_index"])
    return {"target": row.target, **fields}
