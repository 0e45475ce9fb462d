"""grpcurl, which learns a server's schema from its reflection, on our interop server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from _grpc.processes import python_server

PATIENCE = 30.0


@pytest.fixture(scope="module", params=["v1", "v1alpha"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The server's address; with both versions of reflection, or with the older one alone."""
    flags = ["--old_reflection"] if request.param == "v1alpha" else []
    with python_server("server", flags) as port:
        yield f"127.0.0.1:{port}"


async def grpcurl(programs: Path, *arguments: str, code: int = 0) -> str:
    """What it says."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [str(programs / "grpcurl"), "-plaintext", *arguments],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    errors: str = done.stderr.decode()
    assert done.returncode == code, errors
    output: str = done.stdout.decode()
    return output + errors


async def test_list(server: str, go_programs: Path) -> None:
    services = (await grpcurl(go_programs, server, "list")).split()
    assert "grpc.testing.TestService" in services
    assert "xds.service.orca.v3.OpenRcaService" in services
    methods = (await grpcurl(go_programs, server, "list", "grpc.testing.TestService")).split()
    assert "grpc.testing.TestService.FullDuplexCall" in methods


async def test_describe(server: str, go_programs: Path) -> None:
    said = await grpcurl(go_programs, server, "describe", "grpc.testing.TestService.UnaryCall")
    assert "rpc UnaryCall ( .grpc.testing.SimpleRequest )" in said
    said = await grpcurl(go_programs, server, "describe", "xds.data.orca.v3.OrcaLoadReport")
    assert "map<string, double> named_metrics = 8;" in said
    said = await grpcurl(go_programs, server, "describe", "no.Such", code=1)
    assert "Symbol not found: no.Such" in said


async def test_calls(server: str, go_programs: Path) -> None:
    request = json.dumps({"responseSize": 3, "fillServerId": True})
    said = await grpcurl(go_programs, "-d", request, server, "grpc.testing.TestService/UnaryCall")
    reply = json.loads(said)
    assert reply["payload"] == {"body": "AAAA"}
    assert reply["serverId"].startswith("trioraft-")
    request = json.dumps({"responseParameters": [{"size": 1}, {"size": 2}]})
    method = "grpc.testing.TestService/FullDuplexCall"
    said = await grpcurl(go_programs, "-d", request, server, method)
    assert said.count('"payload"') == 2


async def test_a_status(server: str, go_programs: Path) -> None:
    request = json.dumps({"responseStatus": {"code": 5, "message": "käse ☺"}})
    method = "grpc.testing.TestService/UnaryCall"
    said = await grpcurl(go_programs, "-d", request, server, method, code=64 + 5)
    assert "Code: NotFound" in said
    assert "Message: käse ☺" in said
