"""One node of the lock service. Three of them, each in a shell of its own:

python node.py --id n1 --peers n1=127.0.0.1:7101,n2=127.0.0.1:7102,n3=127.0.0.1:7103
"""

from __future__ import annotations

import argparse
import signal

import trio
import trioraft
from machine import LockMachine
from service import Locks


async def main(node_id: str, peers: str, data: str) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trioraft.open_node(
            id=node_id,
            peers=peers,
            data=data,
            machine=LockMachine(),
            services=lambda node: [Locks(node)],
        ) as node:
            print(f"serving at {node.address}", flush=True)
            async for _ in signals:
                await node.stop(grace=5)  # hands leadership over, lets calls end
                return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A node of the lock service.")
    parser.add_argument("--id", required=True)
    parser.add_argument("--peers", required=True, help="ID=HOST:PORT of every node, by commas")
    parser.add_argument("--data", help="directory; by default locks-ID")
    arguments = parser.parse_args()
    trio.run(main, arguments.id, arguments.peers, arguments.data or f"locks-{arguments.id}")
