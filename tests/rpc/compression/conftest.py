"""A look at the wire: what our ends hand to HTTP/2."""

from __future__ import annotations

import pytest
from compression_wire import Wire, spy_on

from trioraft.rpc.wire import http2


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """What is sent from here on, by both ends if both are ours."""
    seen = Wire()
    monkeypatch.setattr(http2, "Connection", spy_on(seen))
    return seen
