"""Clients that take their leave as grpc-go's do: no error of theirs, and nothing to warn of."""

from __future__ import annotations

import logging

import pytest
import trio
from echo_service import Echo, serving
from raw_exchange import PREFACE, assert_alive, exchange

SETTINGS = bytes.fromhex("000000 04 00 00000000")


def goaway(last_stream: int, code: int) -> bytes:
    """A GOAWAY frame with debug data."""
    body = last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + b"client is closing"
    return len(body).to_bytes(3, "big") + bytes.fromhex("07 00 00000000") + body


@pytest.mark.parametrize("last_stream", [0, 1, 3, 2**31 - 1])
async def test_a_goaway_with_a_stream_of_its_own_is_no_error(
    last_stream: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving([Echo()]) as address:
        with trio.fail_after(10), caplog.at_level(logging.INFO):
            await exchange(address, PREFACE + SETTINGS + goaway(last_stream, 0))
            assert not caplog.records
            await assert_alive(address)


@pytest.mark.parametrize("last_stream", [3, 2**31 - 1])
async def test_one_that_says_an_error_is_said(
    last_stream: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving([Echo()]) as address:
        with trio.fail_after(10), caplog.at_level(logging.INFO):
            await exchange(address, PREFACE + SETTINGS + goaway(last_stream, 1))
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            await assert_alive(address)
