"""What is asked of a connection at any time, also while its HTTP/2 session comes to an end."""

from __future__ import annotations

import pytest
import trio.testing

from trioraft.rpc import Compression, Limits
from trioraft.rpc.server.life.managed import ManagedConnection
from trioraft.rpc.server.shared import Shared
from trioraft.rpc.wire.http2 import Http2Error


async def test_a_session_that_is_over_still_answers_the_timers() -> None:
    """The timers of all connections share a task: an error here would end the whole server."""
    stream, _ = trio.testing.memory_stream_pair()
    managed = ManagedConnection(stream, Shared({}, Limits(), Compression()))
    before = managed.signs_of_life(), managed.signs_of_sending()
    managed.engine.terminate_connection()
    managed.engine.data_to_send()
    with pytest.raises(Http2Error):
        assert managed.engine.local_window_size
    assert managed.signs_of_life() != before[0]
    assert managed.signs_of_sending() == before[1]
