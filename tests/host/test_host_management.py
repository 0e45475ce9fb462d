"""The management module on a dRPC socket."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from trioraft._proto.local.node_pb2 import GroupStatus, StatusReply
from trioraft.drpc import DrpcUnavailableError, UnknownMethodError, open_drpc
from trioraft.host.management import MODULE_ID, ask_status, serve_management


class FakeNode:
    def status_reply(self) -> StatusReply:
        return StatusReply(node_id="n1", groups=[GroupStatus(role="leader", term="3")])


async def test_status_travels_over_drpc(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = str(tmp_path / "drpc.sock")
    await nursery.start(serve_management, FakeNode(), path)
    assert await ask_status(path) == FakeNode().status_reply()
    async with open_drpc(path) as client:
        with pytest.raises(UnknownMethodError):
            await client.call(MODULE_ID, 1)


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(DrpcUnavailableError):
        await ask_status(tmp_path / "none")
