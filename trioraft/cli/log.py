"""`trioraft log`: look into a data directory, and find out where it is damaged.

Both commands only read: on a directory that a node is using, on a read-only disk, and on a
damaged one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from trioraft.raft.types import Entry
from trioraft.storage.identity import IDENTITY, read_identity
from trioraft.storage.readonly import ReadOnlyFileSystem
from trioraft.storage.registry import GroupRegistry
from trioraft.storage.survey import (
    Damage,
    survey_segments,
    survey_snapshots,
    verify_group,
)

from .errors import explained
from .log_tables import entry_line, segment_fields, segment_table, snapshot_fields, snapshot_table

__all__ = ["log"]

_LAST = (1 << 63) - 1


@click.group()
def log() -> None:
    """Look into a node's data directory. Nothing is changed; the node may be running."""


directory_argument = click.argument(
    "directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
group_option = click.option("--group", metavar="HEX", help="Only this group, by its id.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@log.command()
@directory_argument
@group_option
@click.option("--entries", is_flag=True, help="List the entries, too.")
@click.option("--from", "low", type=int, default=0, metavar="INDEX", help="First entry to list.")
@click.option("--to", "high", type=int, metavar="INDEX", help="Last entry to list.")
@json_option
def inspect(
    directory: Path, group: str | None, entries: bool, low: int, high: int | None, as_json: bool
) -> None:
    """Show files, entries, terms, votes and snapshots of every group.

    Entries that were replaced later (by a new leader's) are listed as they were written.
    """
    with explained():
        filesystem = ReadOnlyFileSystem()
        node_id, cluster = _owner(filesystem, directory)
        wanted = range(low, (_LAST if high is None else high) + 1) if entries else None
        shown = []
        for group_id, folder, _ in _groups(filesystem, directory, group):
            if as_json:
                shown.append(_group_fields(filesystem, folder, group_id, wanted))
            else:
                click.echo(f"group {group_id.hex()} of node {node_id}, cluster {cluster}")
                _show_group(filesystem, folder, group_id, wanted)
    if as_json:
        click.echo(json.dumps({"node": node_id, "cluster": cluster, "groups": shown}, indent=2))


def _show_group(
    filesystem: ReadOnlyFileSystem, folder: str, group_id: bytes, wanted: range | None
) -> None:
    def see(entry: Entry, offset: int, size: int) -> None:
        if wanted is not None and entry.index in wanted:
            click.echo(entry_line(entry, offset, size))

    console = Console()
    see_entry = None if wanted is None else see
    console.print(segment_table(list(survey_segments(filesystem, folder, group_id, see_entry))))
    if snapshots := list(survey_snapshots(filesystem, folder)):
        console.print(snapshot_table(snapshots))


def _group_fields(
    filesystem: ReadOnlyFileSystem, folder: str, group_id: bytes, wanted: range | None
) -> dict[str, Any]:
    listed: list[dict[str, Any]] = []

    def see(entry: Entry, offset: int, size: int) -> None:
        if wanted is not None and entry.index in wanted:
            listed.append(_entry_fields(entry, offset, size))

    see_entry = None if wanted is None else see
    segments = [
        segment_fields(segment)
        for segment in survey_segments(filesystem, folder, group_id, see_entry)
    ]
    snapshots = [snapshot_fields(snapshot) for snapshot in survey_snapshots(filesystem, folder)]
    fields = {"group": group_id.hex(), "segments": segments, "snapshots": snapshots}
    return fields if wanted is None else {**fields, "entries": listed}


@log.command()
@directory_argument
@group_option
@json_option
def verify(directory: Path, group: str | None, as_json: bool) -> None:
    """Read everything and check it, as a start of the node would.

    Exit status 1 if anything is damaged, with file and offset of each place. A torn tail, which
    a crash leaves and the next start cuts off, is no damage.
    """
    found: list[Damage] = []
    checked = 0
    progress = Progress(
        TextColumn("reading"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=as_json,
        transient=True,
    )
    with explained(), progress:
        task = progress.add_task("reading", total=None)
        filesystem = ReadOnlyFileSystem(lambda size: progress.advance(task, size))
        _owner(filesystem, directory)
        groups = list(_groups(filesystem, directory, group))
        progress.update(task, total=_size(directory, groups))
        for group_id, folder, known in groups:
            found += verify_group(filesystem, folder, group_id, known=known)
            checked += 1
    if as_json:
        fields = {"groups": checked, "damage": [asdict(damage) for damage in found]}
        click.echo(json.dumps(fields, indent=2))
    else:
        for damage in found:
            click.echo(f"{damage.file}: corrupt at offset {damage.offset}: {damage.reason}")
        _summarize(checked, found)
    if found:
        raise click.exceptions.Exit(1)


def _summarize(checked: int, found: Sequence[Damage]) -> None:
    groups = f"{checked} group{'' if checked == 1 else 's'}"
    if not found:
        click.echo(f"{groups}: no damage")
    else:
        click.echo(
            f"{groups}, {len(found)} damaged place{'' if len(found) == 1 else 's'}. Restore this "
            "node from its peers: move its data directory away, remove it from the cluster and "
            "add it again, one node at a time."
        )


def _owner(filesystem: ReadOnlyFileSystem, directory: Path) -> tuple[str, str]:
    """(node id, cluster). Raises ClickException for another directory, CorruptionError."""
    if not filesystem.exists(f"{directory}/{IDENTITY}"):
        raise click.ClickException(
            f"{directory} is not a data directory of a node: it has no {IDENTITY}. Name what the "
            "node was given as --data"
        )
    return read_identity(filesystem, str(directory))


def _groups(
    filesystem: ReadOnlyFileSystem, directory: Path, only: str | None
) -> Iterator[tuple[bytes, str, bool]]:
    """(id, folder, whether it is registered) of the groups. Raises ClickException for none."""
    registry = GroupRegistry(filesystem, str(directory))
    found = registry.groups()
    chosen = [group_id for group_id in found if only is None or group_id.hex() == only.lower()]
    if only is not None and not chosen:
        known = ", ".join(group_id.hex() for group_id in found) or "none"
        raise click.ClickException(f"--group {only}: not here; there are: {known}")
    for group_id in chosen:
        yield group_id, registry.folder(group_id), registry.knows(group_id)


def _size(directory: Path, groups: Sequence[tuple[bytes, str, bool]]) -> int:
    """Bytes to read, for the progress bar."""
    total = 0
    for _, folder, _ in groups:
        for path in Path(folder).glob("*"):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue  # deleted meanwhile
    return total


def _entry_fields(entry: Entry, offset: int, size: int) -> dict[str, Any]:
    session = entry.session
    return {
        "index": entry.index,
        "term": str(entry.term),
        "kind": entry.kind.name.lower(),
        "bytes": len(entry.data),
        "session": None if session is None else [session.client_id.hex(), session.call_id],
        "offset": offset,
        "stored_bytes": size,
    }
