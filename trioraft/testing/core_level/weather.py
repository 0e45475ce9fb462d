"""What the network, the disks and the clocks do, and how it is when all of them are well."""

from __future__ import annotations

from .scene import Scene

__all__ = ["deliver", "drop", "duplicate", "healthy_round", "sync", "tick"]


def deliver(s: Scene) -> None:
    """A message arrives, more often than not the oldest."""
    packets = s.group.packets
    if not packets:
        return
    early = s.rng.random() < 0.7
    packet = packets.pop(0 if early else s.rng.randrange(len(packets)))
    if packet.target == s.paused:
        packets.append(packet)  # the kernel keeps it
    elif s.cut_off is None or s.cut_off not in (packet.source, packet.target):
        s.group.deliver(packet)


def drop(s: Scene) -> None:
    """A message is lost."""
    packets = s.group.packets
    if packets:
        packets.pop(s.rng.randrange(len(packets)))


def duplicate(s: Scene) -> None:
    """A message will arrive twice."""
    packets = s.group.packets
    if packets:
        packets.append(s.rng.choice(packets))


def tick(s: Scene) -> None:
    """Time passes, and most clocks notice."""
    s.group.now += s.rng.choice((0.01, 0.02, 0.05, 0.1))
    for node in s.nodes:
        if node.core is not None and node.id != s.paused and s.rng.random() < 0.7:
            s.group.tick(node)


def sync(s: Scene) -> None:
    """A disk does one write."""
    if (node := s.some_node()) is not None:
        s.group.sync(node)


def healthy_round(s: Scene) -> None:
    """Every clock ticks, every disk syncs, every message arrives, except where cut off."""
    group = s.group
    group.now += 0.03
    for node in s.nodes:
        if node.core is not None and node.id != s.paused:
            group.tick(node)
            while group.sync(node):
                pass
    packets = group.packets[:]
    group.packets.clear()
    cut_off = s.cut_off
    for packet in packets:
        if cut_off in (packet.source, packet.target) or packet.target == s.paused:
            continue
        group.deliver(packet)
