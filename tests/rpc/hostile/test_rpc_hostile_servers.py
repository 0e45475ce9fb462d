"""Whatever a server does, the call ends with a status, and the application goes on."""

from __future__ import annotations

import logging
import re

import pytest
import trio
from _servers import SERVERS, HostileServer, hostile
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import Echo, serving

from trioraft.rpc import GRPCError, Limits, open_channel

#: A client that waits for nothing long.
LIMITS = Limits(connect_timeout=0.3)


async def outcome(stub: EchoStub, timeout: float) -> str:
    """The name of the status that a unary call ends with."""
    try:
        await stub.Unary(EchoRequest(payload=b"x"), timeout=timeout)
    except GRPCError as error:
        return error.status.name
    return "OK"


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
async def test_server(server: HostileServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    with trio.fail_after(20):
        async with serving([Echo()]) as good, open_channel(good) as friend:
            async with hostile(server.play) as address:
                async with open_channel(address, limits=LIMITS) as channel:
                    timeout = 0.5 if "DEADLINE" in server.status else 5.0
                    status = await outcome(EchoStub(channel), timeout)
                    assert re.fullmatch(server.status, status), status
                    # Nothing of it is left that could make a later call hang.
                    assert await outcome(EchoStub(channel), 0.5) in {
                        *server.status.split("|"),
                        *("UNAVAILABLE", "DEADLINE_EXCEEDED"),
                    }
            assert await outcome(EchoStub(friend), 5.0) == "OK"
