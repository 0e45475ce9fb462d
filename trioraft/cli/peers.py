"""Reading the lists that users type: `--listen`, `--peers`, and members to add or set."""

from __future__ import annotations

from collections.abc import Mapping

import click

from trioraft.raft.membership import MAX_PRIORITY
from trioraft.raft.types import Member

__all__ = [
    "parse_address",
    "parse_member",
    "parse_members",
    "parse_peers",
    "parse_priorities",
]


def parse_address(text: str, option: str) -> str:
    """Check `host:port`. Raises UsageError naming the option."""
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdecimal() and int(port) < 65536):
        raise click.UsageError(
            f"{option}: {text!r} is not HOST:PORT (as in 127.0.0.1:7101, or [::1]:7101)."
        )
    return text


def parse_peers(text: str, node_id: str) -> dict[str, str]:
    """`n1=host:port,n2=host:port,...` as a mapping; `node_id` must be one of them.

    Raises UsageError that names the entry and shows what it should look like.
    """
    peers: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, equals, address = entry.partition("=")
        name = name.strip()
        if not (name and equals):
            raise click.UsageError(
                f"--peers: {entry!r} is not ID=HOST:PORT "
                "(as in n1=127.0.0.1:7101,n2=127.0.0.1:7102,n3=127.0.0.1:7103)."
            )
        if name in peers:
            raise click.UsageError(f"--peers: {name!r} appears twice; every node needs its own id.")
        peers[name] = parse_address(address.strip(), "--peers")
    if not peers:
        raise click.UsageError("--peers: the list is empty; name every node, this one included.")
    twice = [address for address in peers.values() if list(peers.values()).count(address) > 1]
    if twice:
        raise click.UsageError(f"--peers: two nodes have the address {twice[0]}.")
    if node_id not in peers:
        raise click.UsageError(
            f"--id: {node_id!r} is not in --peers, which names {', '.join(peers)}. "
            "The list must contain this node too, and be the same on every node."
        )
    return peers


def parse_priorities(text: str, peers: Mapping[str, str]) -> dict[str, int]:
    """`n1=2,n2=1` as a mapping; only `peers` may be in it, the others have 0.

    Raises UsageError that names the entry and shows what it should look like.
    """
    priorities: dict[str, int] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = (part.strip() for part in entry.partition("="))
        digits = number.isascii() and number.isdecimal()
        if not digits or int(number) > MAX_PRIORITY:
            raise click.UsageError(
                f"--priorities: {entry!r} is not ID=N, N from 0 to {MAX_PRIORITY} "
                "(as in n1=2,n2=1)."
            )
        if name not in peers:
            raise click.UsageError(
                f"--priorities: {name!r} is not in --peers, which names {', '.join(peers)}."
            )
        if name in priorities:
            raise click.UsageError(f"--priorities: {name!r} appears twice.")
        priorities[name] = int(number)
    return priorities


def parse_member(text: str) -> tuple[str, str]:
    """`id=host:port` as (id, address). Raises UsageError that shows what it should look like."""
    node_id, equals, address = text.partition("=")
    if not (node_id and equals):
        raise click.UsageError(f"{text!r} is not ID=HOST:PORT (as in n4=127.0.0.1:7104).")
    return node_id, parse_address(address, node_id)


def parse_members(text: str, known: Mapping[str, Member]) -> tuple[Member, ...]:
    """`id,id=host:port,...`; who is known keeps priority, and the address if none is given.

    Raises UsageError for an unknown id without address.
    """
    members = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        node_id, equals, _ = entry.partition("=")
        present = known.get(node_id)
        if equals:
            priority = 0 if present is None else present.priority
            members.append(Member(*parse_member(entry), priority))
        elif present is not None:
            members.append(present)
        else:
            raise click.UsageError(
                f"{entry!r} is not a member (members are {', '.join(known)}): write ID=HOST:PORT."
            )
    return tuple(members)
