"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from trioraft.storage import FsyncPolicy

__all__ = ["DEFAULT_ENDPOINTS", "endpoints_option", "parse_fsync"]

DEFAULT_ENDPOINTS = "127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103"


def parse_fsync(_context: click.Context, _parameter: click.Parameter, text: str) -> FsyncPolicy:
    """For `--fsync`: `always`, `interval:MS` or `never`. Raises BadParameter."""
    try:
        return FsyncPolicy.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_F = TypeVar("_F", bound=Callable[..., Any])


def endpoints_option(function: _F) -> _F:
    """`--endpoints`, or the environment's TRIORAFT_ENDPOINTS."""
    return click.option(
        "--endpoints",
        envvar="TRIORAFT_ENDPOINTS",
        default=DEFAULT_ENDPOINTS,
        show_default=True,
        show_envvar=True,
        metavar="HOST:PORT,...",
        help="Nodes to ask.",
    )(function)
