"""The `trioraft` command."""

from __future__ import annotations

import click

from .admin import admin
from .demo import demo
from .kv import kv
from .log import log
from .node import node
from .sim import sim
from .status import status

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trioraft")
def main() -> None:
    """gRPC and Raft for Trio: run a node, look at a cluster, read and write its keys."""


for command in (node, status, admin, kv, log, demo, sim):
    main.add_command(command)
