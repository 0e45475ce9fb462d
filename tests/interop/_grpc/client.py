"""Our interop client: `python -m _grpc.client --server_port=10000 --test_case=ping_pong`.

Exit status: 0 the case holds, 1 it does not, and why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from trioraft.rpc import Channel, GRPCError, Limits, open_channel

from . import (
    cases_calls,
    cases_compression,
    cases_http2,
    cases_load,
    cases_soak,
    cases_status,
)
from .case import CASES, CaseFailed, Tester, time_limit
from .flags import client_flags, client_tls, metadata_of

__all__ = [
    "CASES",
    "cases_calls",
    "cases_compression",
    "cases_http2",
    "cases_load",
    "cases_soak",
    "cases_status",
    "main",
    "run",
]

TIME_LIMIT = 120.0
#: Connections to one server that a case asks for, if it does.
CONNECTIONS = {"max_concurrent_streams_connection_scaling": 2}


async def run(flags: argparse.Namespace) -> None:
    """Run the case that the flags name.

    Raises:
        CaseFailed: It does not hold.
        GRPCError: A call failed that should not.
    """
    host, port = flags.server_host, flags.server_port
    target = f"{host}:{port}" if port else host

    @asynccontextmanager
    async def connect() -> AsyncIterator[Channel]:
        async with open_channel(
            target,
            ssl_context=client_tls(flags),
            authority=flags.server_host_override or None,
            service_config=flags.service_config_json or None,
            limits=Limits(max_connections_per_address=CONNECTIONS.get(flags.test_case, 1)),
        ) as channel:
            yield channel

    async with time_limit(TIME_LIMIT), connect() as channel:
        metadata = metadata_of(flags.additional_metadata)
        await CASES[flags.test_case](Tester(channel, flags, connect, metadata))


def main() -> int:
    """Parse the flags, run the case; the exit status."""
    parser = client_flags()
    flags = parser.parse_args()
    if flags.test_case not in CASES:
        parser.error(f"no case {flags.test_case!r}; there are {', '.join(sorted(CASES))}")
    try:
        trio.run(run, flags)
    except (CaseFailed, GRPCError) as error:
        print(f"{flags.test_case}: {error}", file=sys.stderr)
        return 1
    print(f"{flags.test_case}: passed", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
