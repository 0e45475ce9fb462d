"""Our interop server: `python -m _grpc.server --port=10000 [--use_tls ...]`.

Prints the port once it listens, and serves until it is killed.
"""

from __future__ import annotations

import argparse
import os
from functools import partial

import trio

from trioraft.rpc import Handler, Limits, Service, serve
from trioraft.rpc.services import OrcaService, ReflectionService

from .flags import server_flags, server_tls
from .service import InteropService


class OldReflection:
    """Reflection as servers had it before there was a v1."""

    def __init__(self, reflection: ReflectionService) -> None:
        self._reflection = reflection

    def __mapping__(self) -> dict[str, Handler]:
        methods = self._reflection.__mapping__()
        return {path: handler for path, handler in methods.items() if ".v1alpha." in path}


async def run(flags: argparse.Namespace) -> None:
    """Serve until cancelled."""
    service = InteropService(server_id=f"trioraft-{os.getpid()}")
    context = server_tls(flags)
    # Two addresses of one name would get two ports, were the system to choose them.
    host = "localhost" if flags.port else "127.0.0.1"
    # Any interval: the suite does not wait half a minute for a report.
    load = OrcaService(lambda: service.load, min_interval=0.1)
    limits = Limits(max_concurrent_streams=flags.max_concurrent_streams)
    reflection = ReflectionService([service, load])
    services: list[Service] = [service, load, reflection]
    if flags.old_reflection:
        services[-1] = OldReflection(reflection)
    start = partial(serve, services, host=host, port=flags.port, ssl_context=context, limits=limits)
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(start)
        print(addresses[0][1], flush=True)


if __name__ == "__main__":
    trio.run(run, server_flags().parse_args())
