"""nghttp2's own tools on our server: load, and the frames of a refused call one by one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import trio
from _peers._gen.interop_pb2 import Instruction
from _peers.model import SERVICE
from _peers.ours import our_server

HEADERS = ["-H", "content-type: application/grpc", "-H", "te: trailers"]


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def request_body(path: Path, instruction: Instruction) -> str:
    """A file with one length-prefixed message."""
    message = instruction.SerializeToString()
    path.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    return str(path)


async def run_tool(command: list[str]) -> str:
    with trio.fail_after(30):
        done = await trio.run_process(
            command, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    output: str = done.stdout.decode(errors="replace")
    assert done.returncode == 0, output
    return output


@needs("h2load")
async def test_h2load(tmp_path: Path) -> None:
    body = request_body(tmp_path / "body", Instruction(payload=bytes(64)))
    async with our_server() as server:
        url = f"http://{server.target}{SERVICE}Unary"
        load = ["h2load", "-n", "2000", "-c", "4", "-m", "25", "-d", body]
        output = await run_tool([*load, *HEADERS, url])
    assert re.search(r"2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout", output), output
    assert re.search(r"status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx", output), output
    assert server.listener.accepted == 4


@needs("nghttp")
async def test_a_refusal_is_one_header_frame(tmp_path: Path) -> None:
    """gRPC over HTTP/2, "Trailers-Only": a single HEADERS frame with END_STREAM."""
    body = request_body(tmp_path / "body", Instruction(status=5, status_message="nö"))
    async with our_server() as server:
        url = f"http://{server.target}{SERVICE}Unary"
        output = await run_tool(["nghttp", "-v", "-n", "-d", body, *HEADERS, url])
    frames = re.findall(r"recv (HEADERS|DATA|RST_STREAM) frame <([^>]*)>", output)
    assert [name for name, _ in frames] == ["HEADERS"], output
    assert "flags=0x05" in frames[0][1], "END_STREAM | END_HEADERS"
    received = dict(re.findall(r"recv \(stream_id=\d+[^)]*\) (:?[a-z-]+): (.*)", output))
    assert received[":status"] == "200"
    assert received["content-type"].startswith("application/grpc")
    assert received["grpc-status"] == "5"
    assert received["grpc-message"] == "n%C3%B6"
