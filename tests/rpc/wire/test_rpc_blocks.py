"""Blocks of large messages stay with the process between one message and the next."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from trioraft.rpc.wire.blocks import expect_blocks

size, told = 1 << 20, sys.argv[1] == "told"
if told:
    expect_blocks(size)

def message():
    decoded = b"x" * (size + 200)
    small = [bytes(60_000) for _ in range(3)]
    encoded = decoded[:size]

for _ in range(5):
    message()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    message()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's way of giving back memory")
def test_pages_of_large_messages_are_not_given_back_each_time() -> None:
    """A block of 1 MiB has 256 pages; without the hint each message may pay for two such blocks."""
    assert faults("told") < 50 * 20
