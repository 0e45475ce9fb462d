"""The outside world as a node meets it: what a failure to connect says."""

from __future__ import annotations

import errno

import pytest
import trio

from trioraft.host.environment import RealEnvironment


async def test_a_failure_to_connect_names_its_reason() -> None:
    """Trio's own words are that all attempts have failed; the reason is behind them."""
    with trio.socket.socket() as taken:  # bound and not listening: refused
        await taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match="Connection refused") as caught:
            await RealEnvironment().dial(address)
    assert caught.value.errno == errno.ECONNREFUSED
    assert address in str(caught.value)


async def test_a_name_that_nobody_knows_is_named() -> None:
    with pytest.raises(OSError, match=r"no-such-host\.invalid:7101"):
        await RealEnvironment().dial("no-such-host.invalid:7101")
