"""What our client makes of servers whose HTTP/2 is trying: see `bad_server`."""

from __future__ import annotations

import trio

from trioraft.rpc import Status

from .case import Tester, case, expect_status
from .cases_calls import large_call

CALLS_AT_ONCE = 10


@case
async def goaway(tester: Tester) -> None:
    """Both calls succeed, at once: one of them on a second connection."""
    await large_call(tester)
    await large_call(tester)


@case
async def rst_after_header(tester: Tester) -> None:
    async with expect_status(Status.INTERNAL):
        await large_call(tester)


@case
async def rst_during_data(tester: Tester) -> None:
    async with expect_status(Status.INTERNAL):
        await large_call(tester)


@case
async def rst_after_data(tester: Tester) -> None:
    async with expect_status(Status.INTERNAL):
        await large_call(tester)


@case
async def ping(tester: Tester) -> None:
    await large_call(tester)


@case
async def max_streams(tester: Tester) -> None:
    """Calls wait for one another, and all succeed."""
    await large_call(tester)
    async with trio.open_nursery() as nursery:
        for _ in range(CALLS_AT_ONCE):
            nursery.start_soon(large_call, tester)


@case
async def data_frame_padding(tester: Tester) -> None:
    await large_call(tester)


@case
async def no_df_padding_sanity_test(tester: Tester) -> None:
    await large_call(tester)
