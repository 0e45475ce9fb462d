"""What all `trioraft admin` commands share: options, and finding the cluster that is meant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
import trio

from trioraft.cli.errors import explained
from trioraft.cli.options import endpoints_option
from trioraft.raft.errors import TrioraftError

from .cluster import ClusterView, look_for_leader

__all__ = ["common_options", "parse_group_id", "run_at_cluster"]

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")


def common_options(function: _F) -> _F:
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


def run_at_cluster(
    body: Callable[[ClusterView], Awaitable[_T]], *, endpoints: str, group: str, timeout: float
) -> _T:
    """Run `body` on what the cluster says of itself; errors become messages with advice."""

    async def main() -> _T:
        with trio.move_on_after(timeout):
            return await body(await look_for_leader(endpoints, parse_group_id(group), timeout))
        raise TrioraftError(
            f"no outcome within {timeout:g} s; it may still come. Look at `trioraft admin "
            "members`, or give it more --timeout."
        )

    with explained():
        return trio.run(main)


def parse_group_id(text: str) -> bytes:
    """What --group says. Raises UsageError."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise click.UsageError(f"--group: {text!r} is not a group id in hex.") from None
