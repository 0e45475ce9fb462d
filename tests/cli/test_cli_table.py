"""The table of nodes."""

from __future__ import annotations

import io

from rich.console import Console

from trioraft._proto.local.node_pb2 import GroupStatus, StatusReply
from trioraft.cli.table import Row, node_table, short_term


def render(rows: list[Row], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(node_table(rows))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def status(**fields: object) -> StatusReply:
    group = GroupStatus(
        role="leader",
        term="7",
        leader_id="n1",
        last_index=1234567,
        commit_index=1234567,
        applied_index=1234567,
        bytes_on_disk=5 << 20,
        machine={"keys": "99999"},
    )
    return StatusReply(node_id="n1", address="127.0.0.1:27101", groups=[group])


def test_everything_fits_eighty_columns() -> None:
    text = render([Row("127.0.0.1:27101", status())])
    line = next(line for line in text.splitlines() if "n1" in line)
    for cell in ("127.0.0.1:27101", "leader", "7", "1234567", "99999", "5.0 MiB"):
        assert cell in line
    assert "…" not in text


def test_unreachable_nodes_are_shown_with_the_reason() -> None:
    text = render([Row("127.0.0.1:27101", status()), Row("h:1", None, "connection refused")])
    assert "unreachable" in text
    assert "h:1: connection refused" in text


def test_stopped_groups_say_why() -> None:
    reply = status()
    reply.groups[0].role, reply.groups[0].failure = "stopped", "disk full"
    assert "n1: disk full" in render([Row("h:1", reply)])


def test_terms() -> None:
    assert short_term("7") == "7"
    assert short_term(str((7 << 64) + 3)) == "7/3"
    assert short_term("?") == "?"


def test_sizes() -> None:
    reply = status()
    for size, text in ((0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")):
        reply.groups[0].bytes_on_disk = size
        assert text in render([Row("x", reply)])
