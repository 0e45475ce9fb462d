"""A server on grpclib's own asyncio runtime, in a process of its own.

`python -m _peers.grpclib_server DIRECTORY`; listens and speaks as `grpcio_server` does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from grpclib.server import Server

from .certificates import KEY, server_context
from .model import dumps
from .service import InteropService


async def main(directory: Path) -> None:
    """Serve until stdin ends."""
    service = InteropService(asyncio.sleep, asyncio.Event)
    path = directory / "grpclib.sock"
    plain, unix, secure = (Server([service]) for _ in range(3))
    await plain.start("127.0.0.1", 0)
    await unix.start(path=str(path))
    addresses: dict[str, Any] = {"unix": str(path), "port": port_of(plain)}
    if (directory / KEY).exists():
        context = server_context(directory)
        context.set_alpn_protocols(["h2"])
        await secure.start("127.0.0.1", 0, ssl=context)
        addresses["tls_port"] = port_of(secure)
    print(dumps(addresses), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in (plain, unix):
        server.close()


def port_of(server: Server) -> int:
    """The port that the system chose."""
    listening: Any = server._server
    port: int = listening.sockets[0].getsockname()[1]
    return port


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
