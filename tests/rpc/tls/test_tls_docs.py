"""What docs/rpc-tls.md tells its readers to paste, pasted."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import One

from trioraft.rpc import client_tls, open_channel, open_server, server_tls

PAGE = Path(__file__).resolve().parents[3] / "docs" / "rpc-tls.md"


def files_of(page: str, folder: Path) -> Path:
    [commands] = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    subprocess.run(["sh", "-euc", commands], cwd=folder, check=True, capture_output=True)
    return folder


async def test_the_certificates_and_what_they_are_for(tmp_path: Path) -> None:
    folder = files_of(PAGE.read_text(), tmp_path)

    async def who(stream: Any) -> None:
        await stream.recv_message()
        name = stream.peer.certificate.common_name
        await stream.send_message(EchoReply(payload=name.encode()))

    tls = server_tls(folder / "server.pem", folder / "server.key", client_ca=folder / "ca.pem")
    async with open_server([One(who)], port=0, ssl_context=tls) as server:
        alice = client_tls(
            ca=folder / "ca.pem", cert=folder / "alice.pem", key=folder / "alice.key"
        )
        target = f"localhost:{server.addresses[0][1]}"
        async with open_channel(target, ssl_context=alice) as channel:
            reply = await EchoStub(channel).Unary(EchoRequest(), timeout=10)
            assert reply.payload == b"alice"


def test_the_python_of_the_page_is_python() -> None:
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        indented = "".join(f"    {line}\n" for line in code.splitlines())
        compile(f"async def page():\n{indented}", str(PAGE), "exec")
