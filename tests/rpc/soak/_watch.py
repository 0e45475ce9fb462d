"""Running the processes of a soak, and judging what they have left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

#: What a process may hold more at the end than at the beginning, both at rest. Memory: an
#: allocator that has served a million calls is fragmented; a leak of 100 bytes a call is not that.
MEMORY_SLACK = 16 * 1024  # KiB


class Child:
    """A process of the soak."""

    def __init__(self, name: str, *command: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / command[0]), *command[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.latest: dict[str, Any] = {}
        self._rests: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)

    def first_line(self) -> dict[str, Any]:
        """What it says first, before `listen`."""
        assert self._process.stdout is not None
        line: dict[str, Any] = json.loads(self._process.stdout.readline())
        return line

    def listen(self) -> None:
        """Take its reports from now on."""
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            with self._news:
                if said.pop("rest"):
                    self._rests.append(said)
                self.latest = said
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def say(self, word: str) -> None:
        """Send it a word."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def rest(self) -> dict[str, Any]:
        """Have it end its load and tidy up; what it holds then."""
        with self._news:
            before = len(self._rests)
            self.say("rest")
            if not self._news.wait_for(lambda: self._over or len(self._rests) > before, 60):
                raise RuntimeError(f"{self.name} does not come to rest")
            if self._over:
                raise RuntimeError(f"{self.name} has ended before its time")
            return self._rests[-1]

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def quit(self) -> None:
        """End it: politely if it listens."""
        if self.alive:
            self.say("quit")
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        if self._reader.is_alive():
            self._reader.join()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()


@dataclass
class Outcome:
    """What a soak has shown: vitals at rest before and after, samples on the way, complaints."""

    seconds: float
    before: dict[str, dict[str, Any]] = field(default_factory=dict)
    after: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: dict[str, list[tuple[float, dict[str, Any]]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Calls that the clients have made between the two rests."""
        return sum(
            sum(self.after[name]["counts"].values()) - sum(self.before[name]["counts"].values())
            for name in self.after
            if name != "server"
        )

    def judge(self) -> None:
        """Note what has not returned to where it began."""
        for name, after in self.after.items():
            before = self.before[name]
            for thing in ("tasks", "files"):
                if after[thing] != before[thing]:
                    self.problems.append(f"{name}: {before[thing]} {thing}, then {after[thing]}")
            if after["memory"] > before["memory"] + MEMORY_SLACK:
                grown = after["memory"] - before["memory"]
                self.problems.append(f"{name}: memory grew by {grown} KiB")


def soak(
    seconds: float, warm_up: float, clients: int, seed: int, tell: Callable[[float, Outcome], None]
) -> Outcome:
    """Run one: `warm_up` seconds of load and a rest, `seconds` of load and a rest."""
    outcome = Outcome(seconds)
    server = Child("server", "_service.py")
    port = str(server.first_line()["port"])
    children = [server]
    children += [Child(f"client {n + 1}", "_load.py", port, str(seed + n)) for n in range(clients)]
    try:
        for child in children:
            child.listen()
        _load(children, warm_up, outcome, tell)
        outcome.before = _rest(children)
        outcome.samples.clear()
        _load(children, seconds, outcome, tell)
        outcome.after = _rest(children)
        outcome.judge()
    finally:
        for child in reversed(children):
            child.quit()
    return outcome


def _load(
    children: list[Child], seconds: float, outcome: Outcome, tell: Callable[[float, Outcome], None]
) -> None:
    for child in children:
        child.say("go")
    start = time.monotonic()
    while (now := time.monotonic() - start) < seconds:
        time.sleep(min(1.0, seconds - now))
        for child in children:
            if not child.alive:
                raise RuntimeError(f"{child.name} has ended before its time")
            if child.latest:
                samples = outcome.samples.setdefault(child.name, [])
                samples.append((time.monotonic() - start, child.latest))
        tell(time.monotonic() - start, outcome)


def _rest(children: list[Child]) -> dict[str, dict[str, Any]]:
    """Bring all to rest, the server last: its connections go with the clients."""
    return {child.name: child.rest() for child in reversed(children)}
