"""What the logs of calls say, and what they leave out."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase, EchoStub
from intercepted_echo import ANSWERS, CALL, COUNTS, KINDS, PREFIX, service
from trio.testing import MockClock

from trioraft.rpc import GRPCError, Status
from trioraft.rpc.interceptors.logs import LEVELS, log_calls
from trioraft.rpc.testing import open_test_channel

NAME = "trioraft.rpc.calls"


class Failing(EchoBase):
    """Fails with the status that the request asks for."""

    async def Unary(self, request: EchoRequest) -> EchoReply:
        await trio.sleep(0.25)
        raise GRPCError(Status(request.count), "forged\nline")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_record_per_call(
    kind: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG, NAME)
    async with open_test_channel(
        [service("trioraft")], interceptors=[log_calls()], client_interceptors=[log_calls()]
    ) as channel:
        assert await CALL["trioraft"](channel, kind) == ANSWERS[kind]
        await trio.testing.wait_all_tasks_blocked()
    records = {record.rpc["side"]: record for record in caplog.records}  # type: ignore[attr-defined]
    assert len(caplog.records) == len(records) == 2
    there, back = COUNTS[kind]
    server: Any = records["server"]
    assert server.levelno == logging.INFO
    assert server.rpc["method"] == PREFIX + kind
    assert (server.rpc["status"], server.rpc["message"]) == ("OK", None)
    assert (server.rpc["received"], server.rpc["sent"]) == (there, back)
    assert server.rpc["seconds"] == 0
    assert server.getMessage().startswith(f"served {PREFIX}{kind} for StapledStream: OK in")
    client: Any = records["client"]
    assert (client.rpc["sent"], client.rpc["received"]) == (there, back)
    assert client.rpc["sent_bytes"] == server.rpc["received_bytes"]
    assert client.rpc["target"] == "in-memory"
    assert "ab" not in caplog.text.replace("Unary", "")


async def test_levels_and_failures(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    levels = {**LEVELS, Status.NOT_FOUND: logging.CRITICAL}
    del levels[Status.ABORTED]
    caplog.set_level(logging.DEBUG, NAME)
    async with open_test_channel([Failing()], interceptors=[log_calls(levels=levels)]) as channel:
        for status in (Status.NOT_FOUND, Status.INTERNAL, Status.ABORTED, Status.UNAVAILABLE):
            with pytest.raises(GRPCError):
                await EchoStub(channel).Unary(EchoRequest(count=status.value))
    found = [record for record in caplog.records if record.name == NAME]
    assert [record.levelname for record in found] == ["CRITICAL", "ERROR", "WARNING"]
    text = found[0].getMessage()
    assert r"NOT_FOUND ('forged\nline') in 250.000 ms" in text
    assert "\n" not in text


async def test_metadata_and_payloads_only_if_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, NAME)
    interceptor = log_calls(
        metadata=["authorization", "x-user", "id-bin", "absent"],
        payload=lambda message: str(message.payload),
    )
    async with open_test_channel([service("trioraft")], interceptors=[interceptor]) as channel:
        metadata = {"authorization": "Bearer s3cret", "x-user": "ada", "id-bin": b"\x01\xff"}
        await CALL["trioraft"](channel, "Unary", metadata=metadata)
    records: list[Any] = [record for record in caplog.records if record.name == NAME]
    assert [record.levelname for record in records] == ["DEBUG", "DEBUG", "INFO"]
    assert records[0].getMessage() == f"{PREFIX}Unary received \"b'ab'\""
    assert records[1].getMessage() == f"{PREFIX}Unary sends \"b'ab'\""
    assert records[2].rpc["metadata"] == {
        "authorization": ["(not logged)"],
        "x-user": ["ada"],
        "id-bin": ["01ff"],
    }
    assert "s3cret" not in caplog.text


async def test_a_level_that_is_off_costs_no_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, NAME)
    interceptor = log_calls(payload=str)
    async with open_test_channel([service("trioraft")], interceptors=[interceptor]) as channel:
        await CALL["trioraft"](channel, "Unary")
    assert [record for record in caplog.records if record.name == NAME] == []
