"""The README's programs run as they are printed, on other ports."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 30


def program(contains: str, port: int) -> str:
    """The block of Python that has this in it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [found] = [block for block in blocks if contains in block]
    changed, times = re.subn(r"\b(7101|50051)\b", str(port), found)
    assert times >= 1, "no port was found"
    return str(changed)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


def run(source: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@contextmanager
def serving(source: str, port: int, folder: Path) -> Iterator[None]:
    """A program that serves at `port`, beside the block."""
    process = subprocess.Popen([sys.executable, "-c", source], cwd=folder)
    try:
        give_up = time.monotonic() + PATIENCE
        while not answers(port):
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < give_up
            time.sleep(0.05)
        yield
        assert process.poll() is None, "it has ended"
    finally:
        process.kill()
        process.wait(PATIENCE)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_the_counter_counts_on_after_a_restart(tmp_path: Path) -> None:
    source = program("class Counter", free_port())
    assert run(source, tmp_path) == "b'5' b'5'\n"
    assert run(source, tmp_path) == "b'10' b'10'\n"


def test_the_client_writes_to_the_counter(tmp_path: Path) -> None:
    port = free_port()
    writes = "        print(await node.propose"
    stays = program("class Counter", port).replace(
        writes, f"        await trio.sleep_forever()\n{writes}"
    )
    assert "sleep_forever" in stays
    with serving(stays, port, tmp_path):
        assert run(program("open_client", port), tmp_path).split() == ["b'5'"] * 3


def test_the_greeter_greets(tmp_path: Path) -> None:
    for name in ("greeter_pb2.py", "greeter_trio.py"):
        shutil.copy(ROOT / "examples" / "rpc" / "greeter" / name, tmp_path)
    port = free_port()
    with serving(program("# server.py", port), port, tmp_path):
        output = run(program("# client.py", port), tmp_path)
    assert output.splitlines() == ["Hello, Ada!", "Hello, Ada!", "Hallo, Ada!", "Bonjour, Ada!"]
