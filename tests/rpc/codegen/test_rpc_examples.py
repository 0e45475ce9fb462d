"""The examples run as their first lines say, and their generated code is up to date."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "rpc"
PATIENCE = 30


@contextmanager
def server_of(example: str, *arguments: str) -> Iterator[str]:
    """The example's server on a free port; gives its address."""
    process = subprocess.Popen(
        [sys.executable, "server.py", "--port", "0", *arguments],
        cwd=EXAMPLES / example,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving at "), process.communicate(timeout=PATIENCE)
        yield line.split()[-1]
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE)
    assert errors == ""


def client_of(example: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "client.py", *arguments],
        cwd=EXAMPLES / example,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_greeter() -> None:
    with server_of("greeter") as address:
        output, errors = client_of("greeter", address, "Ada").communicate(timeout=PATIENCE)
    assert errors == ""
    assert output.splitlines() == [
        "Hello, Ada!",
        *("Hello, Ada!", "Hallo, Ada!", "Bonjour, Ada!", "Ahoj, Ada!"),
        "Good-bye, Ada!",
    ]


def test_a_proxy_in_front_of_the_greeter() -> None:
    with server_of("greeter") as backend, server_of("proxy", backend) as address:
        output, errors = client_of("greeter", address, "Ada").communicate(timeout=PATIENCE)
    assert errors == ""
    assert output.splitlines()[0] == "Hello, Ada!"
    assert output.splitlines()[-1] == "Good-bye, Ada!"


def test_chat() -> None:
    with server_of("chat") as address:
        ada = client_of("chat", address, "ada")
        assert ada.stdin is not None
        assert ada.stdout is not None
        assert ada.stdout.readline() == "(ada joined)\n"
        second, refused = client_of("chat", address, "ada").communicate(timeout=PATIENCE)
        assert (second, "the name 'ada' is taken" in refused) == ("", True)
        output, errors = client_of("chat", address, "bob").communicate("hello\n", timeout=PATIENCE)
        assert (output, errors) == ("(bob joined)\nbob: hello\n", "")
        lines = [ada.stdout.readline() for _ in range(3)]
        assert lines == ["(bob joined)\n", "bob: hello\n", "(bob left)\n"]
        output, errors = ada.communicate("alone\n", timeout=PATIENCE)
        assert (output, errors) == ("ada: alone\n", "")


@pytest.mark.parametrize(
    ("example", "kinds"),
    [
        ("greeter", ["python_out", "pyi_out", "trioraft_out", "grpclib_python_out"]),
        ("chat", ["python_out", "pyi_out", "trioraft_out"]),
        ("../raft/locks", ["python_out", "pyi_out", "trioraft_out"]),
    ],
)
def test_generated_code_is_up_to_date(
    example: str,
    kinds: list[str],
    protoc: Callable[..., object],
    tmp_path: Path,
) -> None:
    folder = (EXAMPLES / example).resolve()
    protoc(folder, *(f"--{kind}={tmp_path}" for kind in kinds), f"{folder.name}.proto")
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {name: (folder / name).read_text() for name in made}
    assert len(made) == len(kinds)


def test_the_echo_code_is_up_to_date(protoc: Callable[..., object], tmp_path: Path) -> None:
    """That of the RPC tests, by our plugin; `test_rpc_generated` looks at the others'."""
    root = EXAMPLES.parents[1]
    protoc(root / "schema" / "testing", f"--trioraft_out={tmp_path}", "echo.proto")
    committed = root / "tests" / "rpc" / "_gen" / "echo_trio.py"
    assert (tmp_path / "echo_trio.py").read_text() == committed.read_text()


def test_the_benchmark_of_generated_code_runs() -> None:
    made = subprocess.run(
        [sys.executable, "bench/rpc_codegen.py", "--calls", "5", "--rounds", "1"],
        cwd=EXAMPLES.parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    head, *rows = made.stdout.splitlines()
    assert head.split() == ["kind", "stub", "handler", "us", "ratio"]
    assert [row.split()[0] for row in rows] == ["unary"] * 4 + ["stream"] * 4
    assert [row.split()[-1] for row in rows[::4]] == ["1.000", "1.000"]
