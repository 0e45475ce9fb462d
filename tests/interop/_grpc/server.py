"""Our interop server: `python -m _grpc.server --port=10000 [--use_tls ...]`.

Prints the port once it listens, and serves until it is killed.
"""

from __future__ import annotations

import argparse
import os
from functools import partial

import trio

from trioraft.rpc import Limits, serve
from trioraft.rpc.services import OrcaService

from .flags import server_flags, server_tls
from .service import InteropService


async def run(flags: argparse.Namespace) -> None:
    """Serve until cancelled."""
    service = InteropService(server_id=f"trioraft-{os.getpid()}")
    context = server_tls(flags)
    # Two addresses of one name would get two ports, were the system to choose them.
    host = "localhost" if flags.port else "127.0.0.1"
    # Any interval: the suite does not wait half a minute for a report.
    load = OrcaService(lambda: service.load, min_interval=0.1)
    limits = Limits(max_concurrent_streams=flags.max_concurrent_streams)
    start = partial(
        serve, [service, load], host=host, port=flags.port, ssl_context=context, limits=limits
    )
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(start)
        print(addresses[0][1], flush=True)


if __name__ == "__main__":
    trio.run(run, server_flags().parse_args())
