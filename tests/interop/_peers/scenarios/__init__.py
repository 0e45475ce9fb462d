"""What every client on every server must show. Each scenario takes a caller and asserts."""

from .common import (
    KINDS,
    LONG,
    SOON,
    Scenario,
    call,
    expect_alive,
    expect_alive_soon,
    expect_ending,
    only,
    parametrize,
    values,
)
from .endings import deadline_passes
from .kinds import metadata_both_ways, server_stream
from .loads import large_messages

__all__ = [
    "KINDS",
    "LONG",
    "SOON",
    "Scenario",
    "call",
    "deadline_passes",
    "expect_alive",
    "expect_alive_soon",
    "expect_ending",
    "large_messages",
    "metadata_both_ways",
    "only",
    "parametrize",
    "server_stream",
    "values",
]
