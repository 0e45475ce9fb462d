"""Runs transcripts: stories in `transcripts/*.txt`, told by what the cores say and do.

A line that starts with `> ` is a command, the lines below it are what happened, up to an empty
line. Everything else is prose. `TRIORAFT_REWRITE=1` writes down what happens instead of
comparing. The commands are the methods of `Story`; routes are `n1->n2`, `n1->`, `->n2` or `all`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from raft_cluster import Cluster
from raft_node import Disk, Packet
from raft_wishes import Wishes
from raft_words import describe

from trioraft.raft import RaftConfig
from trioraft.raft.errors import TrioraftError
from trioraft.raft.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Member,
)


def packed_terms(term: int, node_id: str) -> int:
    """openraft's rule: (term + 1, node), as one integer."""
    return ((term >> 64) + 1) << 64 | int(node_id)


def retell(text: str) -> str:
    """Run a transcript and return it as it should read."""
    story = Story()
    told: list[str] = []
    skipping = False
    for line in text.splitlines():
        if line.startswith("> "):
            told.append(line)
            told.extend(story.run(line[2:]))
            skipping = True
        elif not line:
            told.append("")
            skipping = False
        elif not skipping:
            told.append(line)
    return "\n".join(told) + "\n"


class Story(Wishes):
    """The commands. Each narrates through `say`."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.cluster = Cluster.of("n1")
        self.cut_off: set[str] = set()
        self.held: list[Packet] = []

    def run(self, command: str) -> list[str]:
        self.lines = []
        name, *words = command.split()
        action: Callable[..., None] = getattr(self, f"do_{name}")
        try:
            action(*words)
        except (TrioraftError, ValueError) as error:
            self.say(f"  {type(error).__name__}: {error}")
        return self.lines

    # --- setting the scene

    def do_nodes(self, *words: str) -> None:
        """nodes n1 n2 n3 [learner=n4] [old=n1,n2] [priority=n1:2] [terms=packed] [setting=0]"""
        ids = [w for w in words if "=" not in w]
        options = dict(w.split("=") for w in words if "=" in w)
        settings: dict[str, Any] = {
            "election_timeout_min": 1.0,
            "election_timeout_max": 2.0,
            "heartbeat_interval": 0.25,
        }
        ranks = dict(w.split(":") for w in options.pop("priority", "").split(",") if w)
        groups = {
            name: tuple(Member(i, f"{i}:1") for i in options.pop(name, "").split(",") if i)
            for name in ("learner", "old")
        }
        if options.pop("terms", "") == "packed":
            settings |= {"next_term": packed_terms, "adopt_term_on_reject": False}
        settings |= {key: float(v) if "." in v else int(v) for key, v in options.items()}
        self.cut_off.clear()
        self.held.clear()
        voters = tuple(Member(i, f"{i}:1", int(ranks.get(i, 0))) for i in ids)
        configuration = Configuration(voters, groups["learner"], groups["old"])
        self.cluster = Cluster(
            configuration,
            RaftConfig(**{"commit_notice_delay": 0.0, **settings}),
            seed=1,
            log=self.say,
        )

    def do_given(self, node_id: str, term: str, *terms: str) -> None:
        """given n1 3 1 1 2: this node comes from an earlier life with that term and log"""
        disk = self.cluster.nodes[node_id].disk
        disk.hard_state = HardState(int(term))
        disk.entries = [
            Entry(int(t), index, EntryKind.WRITE, f"t{t}i{index}".encode())
            for index, t in enumerate(terms)
        ]
        self.cluster.start(self.cluster.nodes[node_id])

    def do_new(self, *node_ids: str) -> None:
        """new n4: a node without members, that waits to be added"""
        for node_id in node_ids:
            self.cluster.join(node_id)

    def do_wipe(self, node_id: str) -> None:
        """wipe n2: this node has crashed, and comes back with an empty disk"""
        self.cluster.nodes[node_id].disk = Disk()

    def do_rate(self, node_id: str, rate: str) -> None:
        """rate n1 1.05: its clock runs 5% fast"""
        self.cluster.nodes[node_id].clock_rate = float(rate)

    # --- time

    def do_wait(self, seconds: str) -> None:
        """wait 0.5: time passes; every node's clock ticks"""
        self.cluster.now += float(seconds)
        for node in self.cluster.nodes.values():
            if node.core is not None:
                self.cluster.tick(node.id)

    def do_run(self, seconds: str) -> None:
        """run 3: time passes in small steps; disks and network work as they should"""
        end = self.cluster.now + float(seconds)
        while self.cluster.now < end:
            self.do_wait("0.125")
            self.do_settle()

    def do_pause(self, seconds: str) -> None:
        """pause 1: time passes, and nobody has looked at a clock yet"""
        self.cluster.now += float(seconds)

    def do_tick(self, node_id: str) -> None:
        self.cluster.tick(node_id)

    def do_timeout(self, node_id: str) -> None:
        """timeout n1: time passes until this node's next deadline"""
        due = self.cluster.core(node_id).next_deadline / self.cluster.nodes[node_id].clock_rate
        self.cluster.now = max(self.cluster.now, due)
        self.cluster.tick(node_id)

    # --- network and disk

    def do_deliver(self, route: str = "all") -> None:
        """deliver: what is under way on the route arrives"""
        for packet in self.take(route):
            self.say(f"  {describe(packet)}")
            self.cluster.deliver(packet)

    def do_drop(self, route: str = "all") -> None:
        for packet in self.take(route):
            self.say(f"  lost: {describe(packet)}")

    def do_hold(self, route: str) -> None:
        """hold n1->n2: what is under way on the route is late; `release` lets it go on"""
        self.held += self.take(route)

    def do_release(self) -> None:
        self.cluster.packets += self.held
        self.held = []

    def do_sync(self, *node_ids: str) -> None:
        """sync n1: what this node has queued for its disk becomes durable"""
        for node_id in node_ids or tuple(self.cluster.nodes):
            while self.cluster.nodes[node_id].core and self.cluster.sync(node_id):
                pass

    def do_settle(self) -> None:
        """settle: disks and network work until nothing is left to do; packets are not shown"""
        busy = True
        while busy:
            self.do_sync()
            packets = self.take("all")
            busy = bool(packets)
            for packet in packets:
                self.cluster.deliver(packet)

    def do_cut(self, *node_ids: str) -> None:
        """cut n3: nothing reaches or leaves these nodes until `join`"""
        self.cut_off.update(node_ids)

    def do_join(self) -> None:
        self.cut_off.clear()

    def do_lost(self, leader: str, follower: str) -> None:
        """lost n1 n2: n1 loses its entry stream to n2"""
        self.cluster.core(leader).peer_unreachable(follower, self.cluster.clock(leader))
        self.cluster.flush(leader)

    def do_crash(self, node_id: str) -> None:
        self.cluster.crash(node_id)

    def do_restart(self, node_id: str) -> None:
        self.cluster.start(self.cluster.nodes[node_id])

    # --- the network's list

    def take(self, route: str) -> list[Packet]:
        """Take the packets of a route off the network; those of cut-off nodes are gone."""
        source, _, target = route.partition("->")
        taken: list[Packet] = []
        kept: list[Packet] = []
        for packet in self.cluster.packets:
            if self.cut_off & {packet.source, packet.target}:
                continue
            on_route = route == "all" or (
                source in ("", packet.source) and target in ("", packet.target)
            )
            (taken if on_route else kept).append(packet)
        self.cluster.packets = kept
        return taken
