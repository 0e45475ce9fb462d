"""How `trioraft log` shows what it finds: tables and lines for people, fields for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from trioraft.raft.types import Entry
from trioraft.storage.survey import SegmentSurvey, SnapshotSurvey

from .table import short_term

__all__ = ["entry_line", "segment_fields", "segment_table", "snapshot_fields", "snapshot_table"]

_MAX_RUNS = 4  # terms shown of one file; the JSON has them all


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in headings:
        is_text = heading in ("file", "state")
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=heading == "file")
    return table


def segment_table(segments: Sequence[SegmentSurvey]) -> Table:
    """A row per file of the log."""
    table = _table("file", "first", "last", "entries", "bytes", "terms", "vote", "state")
    for segment in segments:
        table.add_row(
            PurePath(segment.path).name,
            _number(segment.first),
            _number(segment.last),
            str(segment.entries),
            str(segment.used),
            _terms(segment),
            _vote(segment),
            _state(segment),
        )
    return table


def _terms(segment: SegmentSurvey) -> str:
    runs = [f"{short_term(str(term))}:{low}-{high}" for term, low, high in segment.terms]
    if len(runs) > _MAX_RUNS:
        runs[_MAX_RUNS:] = [f"and {len(runs) - _MAX_RUNS} more"]
    return "\n".join(runs)


def _vote(segment: SegmentSurvey) -> str:
    state = segment.hard_state
    if state is None:
        return ""
    return f"{short_term(str(state.term))} {state.voted_for or '-'}"


def _state(segment: SegmentSurvey) -> Text:
    if segment.trouble is not None:
        where = f"offset {segment.trouble.offset}: {segment.trouble.reason}"
        if not segment.sealed and segment.used:
            return Text(f"torn tail or damage at {where}", style="yellow")
        return Text(where, style="red")
    if segment.sealed:
        return Text("full")
    reserved = segment.size - segment.used
    return Text("newest" + (f", {reserved} bytes reserved" if reserved else ""))


def segment_fields(segment: SegmentSurvey) -> dict[str, Any]:
    fields = asdict(segment)
    fields["terms"] = [[str(term), low, high] for term, low, high in segment.terms]
    state = segment.hard_state
    fields["hard_state"] = (
        None if state is None else {"term": str(state.term), "voted_for": state.voted_for}
    )
    return fields


def snapshot_table(snapshots: Sequence[SnapshotSurvey]) -> Table:
    """A row per snapshot."""
    table = _table("file", "index", "term", "bytes", "members", "state")
    for snapshot in snapshots:
        meta = snapshot.meta
        trouble = snapshot.trouble
        table.add_row(
            PurePath(snapshot.path).name.partition("-")[0] + "...",
            "" if meta is None else str(meta.index),
            "" if meta is None else short_term(str(meta.term)),
            str(snapshot.size),
            "" if meta is None else ", ".join(m.id for m in meta.configuration.members()),
            Text("") if trouble is None else Text(f"{trouble.reason}", style="red"),
        )
    return table


def snapshot_fields(snapshot: SnapshotSurvey) -> dict[str, Any]:
    meta, trouble = snapshot.meta, snapshot.trouble
    return {
        "path": snapshot.path,
        "size": snapshot.size,
        "index": None if meta is None else meta.index,
        "term": None if meta is None else str(meta.term),
        "members": [] if meta is None else [m.id for m in meta.configuration.members()],
        "trouble": None if trouble is None else asdict(trouble),
    }


def entry_line(entry: Entry, offset: int, size: int) -> str:
    """One entry on one line."""
    session = ""
    if entry.session is not None:
        session = f"  session {entry.session.client_id.hex() or '-'}/{entry.session.call_id}"
    return (
        f"{entry.index:>12}  term {short_term(str(entry.term))}  {entry.kind.name.lower():<13}"
        f"  {len(entry.data)} bytes, {size} stored at {offset}{session}"
    )


def _number(index: int | None) -> str:
    return "" if index is None else str(index)
