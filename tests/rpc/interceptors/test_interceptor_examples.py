"""The example runs as its README says, its types are right, its generated code is up to date."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "interceptors"
PATIENCE = 30


def client(address: str, token: str, note: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "client.py", address, token, note],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout, done.stderr


def test_the_example_runs() -> None:
    server = subprocess.Popen(
        [sys.executable, "server.py", "--port", "0"],
        cwd=EXAMPLE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        assert client(address, "ada's secret", "buy milk") == (
            "(Add: OK, 1 received)\nbuy milk\n(List: OK, 1 received)\n",
            "",
        )
        assert client(address, "bob's secret", "sell milk")[0].count("milk") == 1
        assert client(address, "ada's secret", "") == (
            "(Add: INVALID_ARGUMENT, 0 received)\n",
            "INVALID_ARGUMENT: an empty note\n",
        )
        assert client(address, "eve's guess", "steal milk") == (
            "(Add: UNAUTHENTICATED, 0 received)\n",
            "UNAUTHENTICATED: the token is not accepted\n",
        )
    finally:
        server.terminate()
        logged, errors = server.communicate(timeout=PATIENCE)
    assert errors == ""
    assert "secret" not in logged
    lines = [re.sub(r"127\.0\.0\.1:\d+|[\d.]+ ms", "_", line) for line in logged.splitlines()]
    assert lines[0] == "served /notes.Notes/Add for _: OK in _, received 1 (10 B), sent 1 (0 B)"
    assert [line.split(":", 1)[1].split()[0] for line in lines] == [
        *("OK", "OK", "OK", "OK", "INVALID_ARGUMENT", "UNAUTHENTICATED")
    ]


def test_the_types_are_right() -> None:
    """As a user's strict mypy sees them."""
    pytest.importorskip("mypy")
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "mypy",
                "--strict",
                "--config-file=",
                "--follow-imports=silent",
            ),
            f"--cache-dir={ROOT / '.mypy_cache' / 'interceptors'}",
            *("server.py", "client.py"),
        ],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 2 source files\n")


def test_the_generated_code_is_up_to_date(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools.protoc")
    plugin = tmp_path / "protoc-gen-trioraft"
    plugin.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m trioraft.rpc.codegen.plugin\n")
    plugin.chmod(0o755)
    made = tmp_path / "made"
    made.mkdir()
    outputs = ("python_out", "pyi_out", "trioraft_out")
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{EXAMPLE}", f"--plugin={plugin}"),
            *(f"--{output}={made}" for output in outputs),
            "notes.proto",
        ],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    texts = {path.name: path.read_text() for path in made.iterdir()}
    assert texts == {name: (EXAMPLE / name).read_text() for name in texts}
    assert len(texts) == 3


def test_who_does_without_interceptors_does_without_their_libraries() -> None:
    code = (
        "import sys, trioraft.rpc, trioraft.rpc.interceptors; "
        "print([m for m in sys.modules if m.split('.')[0] in ('opentelemetry', "
        "'prometheus_client') or m == 'trioraft.rpc.interceptors.logs'])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_benchmark_of_features_runs() -> None:
    made = subprocess.run(
        [sys.executable, "bench/rpc_features.py", "--calls", "2", "--rounds", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    head, *rows = made.stdout.splitlines()
    assert head.split() == ["feature", "us", "more", "us"]
    assert len(rows) > 15
    assert rows[0].split() == ["nothing", rows[0].split()[1], "0.0"]
