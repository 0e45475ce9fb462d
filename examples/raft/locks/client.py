"""Holds a lock until something is typed, or its standard input ends.

python client.py 127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103 printer
"""

from __future__ import annotations

import sys
import uuid

import trio
from locks_pb2 import Acquire, Holder, Release
from locks_trio import LocksStub
from trioraft.rpc import GRPCError, open_channel

SECONDS = 10  # after which the lock is free if this process dies

# What did not happen is tried again, at another node if need be. `owner` is this attempt's own
# name, so a call that may have happened (ABORTED) can be made again as well.
RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "locks.Locks"}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "ABORTED"],
            },
        }
    ]
}


async def main(addresses: str, lock: str) -> None:
    wish = Acquire(lock=lock, owner=str(uuid.uuid4()), seconds=SECONDS)
    async with open_channel(f"ipv4:{addresses}", service_config=RETRIES) as channel:
        locks = LocksStub(channel)
        holder = await wait_for(locks, wish)
        print(f"{lock} is ours, token {holder.token}", flush=True)
        loss = ""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_input, nursery.cancel_scope)
            loss = await renew(locks, wish)
            nursery.cancel_scope.cancel()
        if loss:
            sys.exit(f"{lock} is not ours any more: {loss}")
        await locks.Unlock(Release(lock=lock, token=holder.token), timeout=SECONDS)
        print(f"{lock} is free")


async def wait_for(locks: LocksStub, wish: Acquire) -> Holder:
    """Until it is ours. How long that may take is up to the caller's scopes."""
    while True:
        holder = await locks.TryLock(wish, timeout=SECONDS)
        if holder.owner == wish.owner:
            return holder
        print(f"{wish.lock} is taken", flush=True)
        await trio.sleep(0.5)


async def renew(locks: LocksStub, wish: Acquire) -> str:
    """Keep it, well before it is free by itself; returns why that did not work."""
    while True:
        await trio.sleep(SECONDS / 3)
        try:
            holder = await locks.TryLock(wish, timeout=SECONDS / 3)
        except GRPCError as error:
            return error.message or error.status.name
        if holder.owner != wish.owner:
            return "somebody else has it"


async def wait_for_input(scope: trio.CancelScope) -> None:
    await trio.lowlevel.wait_readable(sys.stdin)
    scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
