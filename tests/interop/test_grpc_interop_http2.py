"""The suite's servers that try a client's HTTP/2: on ours, and on grpc-go's to try the servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from _grpc import client
from _grpc.bad_server import BEHAVIOURS, Record, serve
from _grpc.cases_http2 import CALLS_AT_ONCE
from _grpc.flags import client_flags
from _grpc.processes import run_client

#: grpc-go's client has no cases for padding, and in rst_during_data it asks for UNKNOWN, while its
#: library makes INTERNAL of such a reset, as gRPC over HTTP/2 has it.
GO_CASES = [name for name in BEHAVIOURS if "padding" not in name and name != "rst_during_data"]


@asynccontextmanager
async def bad_server(case: str) -> AsyncIterator[tuple[Record, list[str]]]:
    """A server in this process: what it sees, and the flags for its client."""
    record = Record()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve, case, record)
        yield record, ["--server_host=127.0.0.1", f"--server_port={port}", f"--test_case={case}"]
        nursery.cancel_scope.cancel()


def check(case: str, record: Record) -> None:
    """What the server of a case asserts of any client."""
    assert not record.violations
    assert record.unanswered_pings == 0
    if case == "goaway":
        assert [number for number, _ in record.calls] == [1, 2], "not on a second connection"
    if case == "max_streams":
        assert record.most_streams == 1
        assert len(record.calls) > CALLS_AT_ONCE


@pytest.mark.parametrize("case", list(BEHAVIOURS))
async def test_our_client(case: str) -> None:
    async with bad_server(case) as (record, flags):
        await client.run(client_flags().parse_args(flags))
        check(case, record)
        assert record.connections == (2 if case == "goaway" else 1)


@pytest.mark.parametrize("case", GO_CASES)
async def test_the_server_on_a_client_that_is_known(case: str, go_programs: Path) -> None:
    async with bad_server(case) as (record, flags):
        await run_client([str(go_programs / "http2")], flags)
        check(case, record)
