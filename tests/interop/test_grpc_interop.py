"""gRPC's official interop suite: our client and server, grpc-go's, and the same two on grpcio.

One test per case, peer and direction; docs/rpc-interop.md has the table and says what is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trio
from _grpc import client
from _grpc.case import CaseFailed
from _grpc.certificates import Certificates
from _grpc.flags import client_flags
from _grpc.go_peers import MODULE, VERSION
from _grpc.matrix import BY_CLIENTS, COMPRESSED, ON_SERVERS, OVER_TLS, SCALING, SCALING_FLAG
from _grpc.processes import go_server, python, python_server, run_client
from _grpc.service import InteropService

from trioraft.rpc import serve

#: grpc-go's client looks at load reports with this balancer of its own.
REPORTING = '{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}'

#: A server's port, by the server's name and whether it speaks TLS.
Ports = Callable[[str, bool], int]


@pytest.fixture(autouse=True)
def peer_is_there(request: pytest.FixtureRequest) -> None:
    """Skips tests whose peer cannot be built: here, as reasons get lost inside of a Trio run."""
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and "grpc-go" in callspec.params.values():
        request.getfixturevalue("go_programs")


@pytest.fixture(scope="module")
def port_of(request: pytest.FixtureRequest) -> Iterator[Ports]:
    """Starts each server when it is first asked for; ends them all."""
    ports: dict[tuple[str, bool], int] = {}
    with ExitStack() as stack:

        def get(name: str, tls: bool) -> int:
            if (name, tls) not in ports:
                flags = request.getfixturevalue("certificates").server_flags() if tls else []
                if name.startswith("grpc-go"):
                    program = "compression" if name.endswith("compression") else "server"
                    server = go_server(request.getfixturevalue("go_programs") / program, flags)
                else:
                    module = "server" if name == "trioraft" else "grpcio_server"
                    server = python_server(module, flags)
                ports[name, tls] = stack.enter_context(server)
            return ports[name, tls]

        yield get


def on_servers() -> list[tuple[str, str]]:
    return [(server, case) for server, cases in ON_SERVERS.items() for case in cases]


def by_clients() -> list[tuple[str, str]]:
    return [(name, case) for name, cases in BY_CLIENTS.items() for case in cases]


def flags_for(case: str, port: int) -> list[str]:
    flags = ["--server_host=127.0.0.1", f"--server_port={port}", f"--test_case={case}"]
    if case.endswith("soak"):
        # A second is enough for a call, but not on machines that have other things to do.
        late, all_late = (
            "soak_per_iteration_max_acceptable_latency_ms",
            "soak_overall_timeout_seconds",
        )
        flags += [f"--{late}=20000", f"--{all_late}=60"]
    return flags


async def run_ours(flags: list[str]) -> None:
    """Our client, in this process: as `python -m _grpc.client` does it."""
    await client.run(client_flags().parse_args(flags))


def special(peer: str, case: str) -> str:
    """grpc-go's own binaries do without compression: another one, on its library, has that."""
    return " compression" if peer == "grpc-go" and case in COMPRESSED else ""


def command_of(name: str, request: pytest.FixtureRequest) -> list[str]:
    if name == "grpc-go compression":
        return [str(request.getfixturevalue("go_programs") / "compression")]
    if name == "grpc-go":
        program = str(request.getfixturevalue("go_programs") / "client")
        return [program, f"--service_config_json={REPORTING}"]
    return python("grpcio_client")


@pytest.mark.parametrize(("server", "case"), on_servers())
async def test_our_client(server: str, case: str, port_of: Ports) -> None:
    flags = flags_for(case, port_of(server + special(server, case), False))
    if server == "grpcio":
        flags.append("--feature_probe=false")  # its API does not show whether a request came so
    await run_ours(flags)


@pytest.mark.parametrize("case", OVER_TLS)
@pytest.mark.parametrize("server", list(ON_SERVERS))
async def test_our_client_over_tls(
    server: str, case: str, port_of: Ports, certificates: Certificates
) -> None:
    await run_ours(flags_for(case, port_of(server, True)) + certificates.client_flags())


@pytest.mark.parametrize(("peer", "case"), by_clients())
async def test_our_server(
    peer: str, case: str, port_of: Ports, request: pytest.FixtureRequest
) -> None:
    command = command_of(peer + special(peer, case), request)
    await run_client(command, flags_for(case, port_of("trioraft", False)))


@pytest.mark.parametrize("case", OVER_TLS)
@pytest.mark.parametrize("peer", list(BY_CLIENTS))
async def test_our_server_over_tls(
    peer: str,
    case: str,
    port_of: Ports,
    certificates: Certificates,
    request: pytest.FixtureRequest,
) -> None:
    flags = flags_for(case, port_of("trioraft", True)) + certificates.client_flags()
    await run_client(command_of(peer, request), flags)


async def test_go_clients_leave_quietly(
    go_programs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Their GOAWAY names a stream of theirs, which libnghttp2 takes for an error."""
    with caplog.at_level(logging.INFO):
        async with trio.open_nursery() as nursery:
            start = partial(serve, [InteropService()], port=0)
            [(_, port)] = await nursery.start(start)
            await run_client([str(go_programs / "client")], flags_for("ping_pong", port))
            await trio.sleep(0.1)  # what would be said is said when they have gone
            nursery.cancel_scope.cancel()
    assert not caplog.records


@pytest.mark.parametrize("server", ["server", "grpcio_server"])
async def test_our_client_takes_a_second_connection(server: str) -> None:
    with python_server(server, [SCALING_FLAG]) as port:
        await run_ours(flags_for(SCALING, port))


@pytest.mark.parametrize("policy", ["pick_first", "round_robin"])
async def test_pick_first_of_two_servers(policy: str, port_of: Ports) -> None:
    """The case as it is meant: it holds with one policy, and notices another."""
    with python_server("server") as second:
        flags = [
            f"--server_host=ipv4:127.0.0.1:{port_of('trioraft', False)},127.0.0.1:{second}",
            "--server_port=0",
            "--test_case=pick_first_unary",
            f'--service_config_json={{"loadBalancingConfig": [{{"{policy}": {{}}}}]}}',
        ]
        if policy == "pick_first":
            await run_ours(flags)
        else:
            with pytest.raises(CaseFailed, match="calls went to"):
                await run_ours(flags)


async def test_our_client_as_a_program(port_of: Ports) -> None:
    flags = flags_for("ping_pong", port_of("trioraft", False))
    assert await run_client(python("client"), flags) == "ping_pong: passed\n"


def test_the_table_says_what_runs() -> None:
    """docs/rpc-interop.md, column by column."""
    text = (Path(__file__).parents[2] / "docs" / "rpc-interop.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    columns = [*ON_SERVERS.values(), *BY_CLIENTS.values()]
    known = {case for cases in columns for case in cases}
    said = {row[0]: row[1:] for row in rows if row and row[0] in known}
    assert sorted(said) == sorted(known)
    for case, cells in said.items():
        over_tls = "✓ TLS" if case in OVER_TLS else "✓"
        runs = [over_tls if case in cases else "-" for cases in columns]
        assert [cell.rstrip(" ¹²³⁴⁵⁶⁷⁸") for cell in cells] == runs, case
    assert f"| grpc-go | {VERSION} |" in text
    assert f"google.golang.org/grpc {VERSION}\n" in (MODULE / "go.mod").read_text()
