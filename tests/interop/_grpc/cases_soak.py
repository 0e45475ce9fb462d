"""The cases that go on for a while: soaks of one channel, and of many."""

from __future__ import annotations

from contextlib import AsyncExitStack

import trio

from trioraft.rpc import GRPCError

from ._gen.grpc_testing_grpc import TestServiceStub
from ._gen.grpc_testing_pb2 import COMPRESSABLE, SimpleRequest
from .case import Tester, case, expect
from .payloads import payload


@case
async def rpc_soak(tester: Tester) -> None:
    await soak(tester, new_channels=False)


@case
async def channel_soak(tester: Tester) -> None:
    await soak(tester, new_channels=True)


@case
async def long_lived_channel(tester: Tester) -> None:
    """Calls on one channel with pauses (`--soak_min_time_ms_between_rpcs`)."""
    await soak(tester, new_channels=False)


async def soak(tester: Tester, *, new_channels: bool) -> None:
    """`--soak_iterations` calls, shared out to `--soak_num_threads` tasks.

    Too few of them in time, or too many that failed or were late, fail the case.
    """
    flags = tester.flags
    problems: list[str] = []
    done = 0

    async def worker() -> None:
        nonlocal done
        for _ in range(flags.soak_iterations // flags.soak_num_threads):
            earliest = trio.current_time() + flags.soak_min_time_ms_between_rpcs / 1000
            problem = await one_iteration(tester, new_channel=new_channels)
            if problem is not None:
                problems.append(problem)
            done += 1
            await trio.sleep_until(earliest)

    # A guard of its own, and no deadline of Trio's: every call would send that.
    async with trio.open_nursery() as guard:

        async def stop() -> None:
            await trio.sleep(flags.soak_overall_timeout_seconds)
            workers.cancel_scope.cancel()

        guard.start_soon(stop)
        async with trio.open_nursery() as workers:
            for _ in range(flags.soak_num_threads):
                workers.start_soon(worker)
        guard.cancel_scope.cancel()
    wanted = flags.soak_iterations // flags.soak_num_threads * flags.soak_num_threads
    expect(done == wanted, f"{done} of {wanted} iterations in time")
    expect(
        len(problems) <= flags.soak_max_failures,
        f"{len(problems)} of {wanted} iterations failed, the first: {problems[:1]}",
    )


async def one_iteration(tester: Tester, *, new_channel: bool) -> str | None:
    """One call. What was wrong with it, or None."""
    flags = tester.flags
    request = SimpleRequest(
        response_type=COMPRESSABLE,
        response_size=flags.soak_response_size,
        payload=payload(flags.soak_request_size),
    )
    async with AsyncExitStack() as stack:
        stub = tester.stub
        if new_channel:
            stub = TestServiceStub(await stack.enter_async_context(tester.connect()))
        began = trio.current_time()
        try:
            reply = await stub.UnaryCall(request, metadata=tester.metadata)
        except GRPCError as error:
            return f"{error.status.name}: {error.message}"
        took = 1000 * (trio.current_time() - began)
    if len(reply.payload.body) != flags.soak_response_size:
        return f"a reply of {len(reply.payload.body)} bytes"
    if took > flags.soak_per_iteration_max_acceptable_latency_ms:
        return f"took {took:.0f} ms"
    return None
