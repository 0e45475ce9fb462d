"""The example of a replicated service runs as its README says, and its own tests pass."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from counter_nodes import free_ports

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "raft" / "locks"
PATIENCE = 30


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=EXAMPLE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate(timeout=PATIENCE)
    return line.strip()


def leave(process: subprocess.Popen[str]) -> list[str]:
    """End its standard input; gives the rest of what it printed."""
    output, errors = process.communicate("", timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")
    return output.splitlines()


def test_the_second_client_gets_the_lock_after_the_first_though_nodes_die(tmp_path: Path) -> None:
    addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
    peers = ",".join(f"n{number}={address}" for number, address in enumerate(addresses, 1))
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                program("node.py", "--id", name, "--peers", peers, "--data", str(tmp_path / name))
            )
            for name in ("n1", "n2", "n3")
        ]
        for node, address in zip(nodes, addresses, strict=True):
            assert line_of(node) == f"serving at {address}"
        client = ["client.py", ",".join(addresses), "printer"]
        first = stack.enter_context(program(*client))
        held = line_of(first)
        assert held.startswith("printer is ours, token ")
        second = stack.enter_context(program(*client))
        assert line_of(second) == "printer is taken"
        nodes[0].kill()  # the one that both clients have talked to, and perhaps the leader
        assert leave(first)[-1] == "printer is free"
        while (line := line_of(second)) == "printer is taken":
            pass
        assert int(line.split()[-1]) > int(held.split()[-1])
        assert leave(second)[-1] == "printer is free"
        for node in nodes[1:]:
            node.terminate()
            _, errors = node.communicate(timeout=PATIENCE)
            assert (node.returncode, "Traceback" in errors) == (0, False)


@pytest.mark.slow
def test_its_own_tests_pass() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_locks.py"]
    done = subprocess.run(
        command, cwd=EXAMPLE, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout
