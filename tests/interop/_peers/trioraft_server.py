"""Our server in a process of its own, to be killed; listens and speaks as `grpcio_server` does."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import trio

from trioraft.rpc import serve

from .model import dumps
from .ours import make_service


async def main(directory: Path) -> None:
    """Serve until killed."""
    path = directory / "trioraft.sock"
    async with trio.open_nursery() as nursery:
        (_, port), _ = await nursery.start(partial(serve, [make_service()], port=0, uds=str(path)))
        print(dumps({"port": port, "unix": str(path)}), flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
