"""What `trioraft node` does once its options are read: serve, until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import trio

from trioraft.host import KvBackend, Node, open_node
from trioraft.host.collector import tune_collector
from trioraft.machines.kv import KvMachine
from trioraft.node import RuntimeSettings
from trioraft.protocols.etcd import etcd_services
from trioraft.raft.config import RaftConfig
from trioraft.rpc.services import HealthService
from trioraft.storage import FsyncPolicy, StorageSettings

__all__ = ["Options", "run_node"]

logger = logging.getLogger(__name__)

#: Stops the node, in order.
Stop: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    node_id: str
    listen: str
    peers: dict[str, str] | None  # None: join
    priorities: dict[str, int]
    data: Path
    wire: str
    cluster: str
    uds: str | None
    drpc_socket: str | None
    election_timeout: int
    heartbeat: int
    staging_timeout: float
    lease_reads: bool
    fsync: FsyncPolicy
    reflection: bool
    grace: float
    stop_at_eof: bool


async def run_node(options: Options) -> None:
    """Serve until a signal, the end of standard input, or the failure of the group."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with (
            open_node(
                id=options.node_id,
                listen=options.listen,
                peers=options.peers,
                priorities=options.priorities,
                join=options.peers is None,
                data=options.data,
                machine=KvMachine(),
                wire=options.wire,
                cluster=options.cluster,
                uds=options.uds,
                drpc=options.drpc_socket,
                services=lambda started: etcd_services(KvBackend(started)),
                health=HealthService(),
                reflection=options.reflection,
                config=_config(options),
                settings=RuntimeSettings(storage=StorageSettings(fsync=options.fsync)),
            ) as started,
            trio.open_nursery() as nursery,
        ):
            tune_collector()
            print(f"ready: {options.node_id} serving on {started.address}", flush=True)
            stop = partial(_stop, started, options.grace, nursery.cancel_scope)
            nursery.start_soon(_stop_at_signal, stop, signals)
            if options.stop_at_eof:
                nursery.start_soon(_stop_at_eof, stop)
            await started.wait_stopped()


def _config(options: Options) -> RaftConfig:
    return RaftConfig(
        election_timeout_min=options.election_timeout / 1000,
        election_timeout_max=2 * options.election_timeout / 1000,
        heartbeat_interval=options.heartbeat / 1000,
        staging_timeout=options.staging_timeout,
        lease_reads=options.lease_reads,
    )


async def _stop_at_signal(stop: Stop, signals: Any) -> None:
    """First signal: stop in good order. Second: stop at once."""
    stopping = False
    async with trio.open_nursery() as nursery:
        async for number in signals:
            if stopping:
                print(f"stopped at once by {signal.Signals(number).name}", file=sys.stderr)
                sys.stderr.flush()
                # Disk and peers must be able to take this at any time: it is a crash.
                os._exit(128 + number)
            stopping = True
            logger.info("%s: stopping", signal.Signals(number).name)
            nursery.start_soon(stop)


async def _stop_at_eof(stop: Stop) -> None:
    """Stop like at the first signal when whoever started us closes our standard input or dies."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
        async for _ in stdin:
            pass  # input means nothing; its end does
    await stop()


async def _stop(started: Node, grace: float, scope: trio.CancelScope) -> None:
    """Hand over and let calls end, within `grace` seconds, then end the node."""
    await started.stop(grace)
    scope.cancel()
