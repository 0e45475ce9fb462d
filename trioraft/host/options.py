"""What `open_node` and `open_server` can both be told, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from trioraft.protocols.local.link import LinkSettings

from .environment import Environment
from .resting import RestSettings

__all__ = ["HostOptions"]


class HostOptions(TypedDict, total=False):
    """Keyword arguments; each may be left out.

    Attributes:
        data: Data directory. Default: None, which keeps log and snapshots in memory (a crash
            forgets them: for tests only).
        wire: The dialect between peers, `"ratis"`, the default, or `"openraft"`; the same on every
            server.
        cluster: Name of the cluster; the ids of its groups are derived from it. Default
            `"trioraft"`.
        uds: Path of a Unix socket for the same gRPC services.
        drpc: Path of a Unix socket for dRPC management.
        reflection: Serve gRPC reflection, for grpcurl and its like. Default False.
        links: Times of the heartbeats of all groups between two servers, which travel together;
            the same on every server.
        rest: Let groups rest while nobody asks them for anything; the same on every server.
        environment: The outside world; the simulator hands in its own.
    """

    data: str | Path | None
    wire: str
    cluster: str
    uds: str | None
    drpc: str | None
    reflection: bool
    links: LinkSettings | None
    rest: RestSettings | None
    environment: Environment | None
