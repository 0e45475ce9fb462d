"""`trioraft node`: one member of a cluster, serving peers, clients and the etcd v3 API."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
import trio

from .errors import explained
from .options import parse_fsync
from .peers import parse_address, parse_peers, parse_priorities
from .serving import Options, run_node

__all__ = ["node"]

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


@click.command()
@click.option("--id", "node_id", required=True, metavar="ID", help="This node's name in --peers.")
@click.option("--listen", required=True, metavar="HOST:PORT", help="Address to serve on.")
@click.option(
    "--peers",
    metavar="ID=HOST:PORT,...",
    help="All nodes of a new cluster, this one included; the same list on every node. Read once: "
    "afterwards the log knows the members.",
)
@click.option(
    "--priorities",
    metavar="ID=N,...",
    help="Which nodes of a new cluster should rather lead: of those that are up to date, the one "
    "with the highest number (0 if not named). The same list on every node, read once as --peers; "
    "later: trioraft admin update ID --priority N. Not with --wire openraft.",
)
@click.option(
    "--join",
    is_flag=True,
    help="Instead of --peers: wait until the cluster is told to add this node "
    "(trioraft admin add ID=HOST:PORT).",
)
@click.option(
    "--data",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Directory of this node's log and snapshots; created if missing.",
)
@click.option(
    "--wire",
    type=click.Choice(["ratis", "openraft"]),
    default="ratis",
    show_default=True,
    help="Protocol between the nodes; the same on every node. openraft wants numbers as ids.",
)
@click.option(
    "--cluster",
    default="trioraft",
    show_default=True,
    metavar="NAME",
    help="Name of the cluster; nodes of another one are refused.",
)
@click.option("--uds", metavar="PATH", help="Serve on this Unix socket too.")
@click.option("--drpc-socket", metavar="PATH", help="Serve dRPC (trioraft status --socket) here.")
@click.option(
    "--election-timeout",
    type=click.IntRange(min=10),
    default=500,
    show_default=True,
    metavar="MS",
    help="Shortest silence of the leader before an election; the longest is twice that.",
)
@click.option(
    "--heartbeat",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="MS",
    help="Pause between a leader's heartbeats.",
)
@click.option(
    "--staging-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a new voter may get no further before its addition is given up.",
)
@click.option(
    "--lease-reads",
    is_flag=True,
    help="Answer linearizable reads without asking the others while a lease holds: faster, and "
    "right as long as clocks run at nearly the same rate. The same on every node.",
)
@click.option(
    "--fsync",
    default="always",
    show_default=True,
    metavar="POLICY",
    callback=parse_fsync,
    help="When writes are made durable: `always` before they are acknowledged; `interval:MS` "
    "within so many milliseconds after; `never`: when the kernel likes. A killed process loses "
    "nothing. A power loss costs this node what was not synced, its vote too: with the weaker "
    "two, a power loss of several nodes can lose acknowledged writes or split the cluster.",
)
@click.option(
    "--reflection/--no-reflection",
    default=True,
    show_default=True,
    help="Describe the services to whoever asks, such as grpcurl.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="What goes to standard error.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a node that is told to stop may take to hand leadership over, and calls under "
    "way to end; what is left is ended then. 0: at once.",
)
@click.option("--stop-at-eof", is_flag=True, help="Also stop when standard input closes.")
def node(
    listen: str,
    peers: str | None,
    priorities: str | None,
    join: bool,
    node_id: str,
    log_level: str,
    **rest: Any,
) -> None:
    """Run one node of a cluster until SIGTERM or SIGINT.

    Three nodes on one machine:

    \b
      trioraft node --id n1 --listen 127.0.0.1:7101 --data /tmp/n1 \\
        --peers n1=127.0.0.1:7101,n2=127.0.0.1:7102,n3=127.0.0.1:7103
      (n2 and n3 likewise, each with its own --id, --listen and --data)

    A fourth one, later:

    \b
      trioraft node --id n4 --listen 127.0.0.1:7104 --data /tmp/n4 --join
      trioraft admin add n4=127.0.0.1:7104

    The first signal stops it gracefully: it is NOT_SERVING, a leader hands over, new connections
    are refused, and calls under way end (--grace); the exit status is 0. A second one stops it at
    once, which is safe too: nothing is acknowledged before it is on disk.
    """
    logging.basicConfig(level=log_level.upper(), format=LOG_FORMAT)
    founders = _founders(peers, join, node_id)
    options = Options(
        node_id=node_id,
        listen=parse_address(listen, "--listen"),
        peers=founders,
        priorities=_priorities(priorities, founders),
        **rest,
    )
    with explained(listen):
        trio.run(run_node, options)


def _founders(peers: str | None, join: bool, node_id: str) -> dict[str, str] | None:
    """The members that --peers names, None for --join. Raises UsageError for both or neither."""
    if join and peers is not None:
        raise click.UsageError("--join: a node that joins learns its peers; leave --peers out.")
    if peers is not None:
        return parse_peers(peers, node_id)
    if join:
        return None
    raise click.UsageError("say --peers for a node of a new cluster, --join for one more node.")


def _priorities(text: str | None, founders: dict[str, str] | None) -> dict[str, int]:
    """What --priorities says. Raises UsageError, also with --join."""
    if text is None:
        return {}
    if founders is None:
        raise click.UsageError(
            "--priorities: a node that joins gets its own when it is added: "
            "trioraft admin add ID=HOST:PORT --priority N."
        )
    return parse_priorities(text, founders)
