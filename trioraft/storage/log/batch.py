"""What the core promises about a batch, asserted before anything of it is written."""

from __future__ import annotations

from collections.abc import Callable

from trioraft.raft.types import HardState, SnapshotMeta
from trioraft.storage.interface import PersistBatch

from .record import MAX_TERM

__all__ = ["check_batch"]


def check_batch(
    batch: PersistBatch,
    hard_state: HardState,
    snapshot: SnapshotMeta | None,
    last_index: int,
    term_at: Callable[[int], int],
) -> int:
    """Assert what the core promises; returns the index after which the entries go.

    The other arguments say what is stored. Raises ValueError for a batch that would break the
    log, IndexError from `term_at` for entries that would replace the base.
    """
    new = batch.hard_state
    if new is not None:
        _check_term(new.term)
        if new.term < hard_state.term:
            raise ValueError(f"the term would go back from {hard_state.term} to {new.term}")
        if new.term == hard_state.term and hard_state.voted_for not in (None, new.voted_for):
            raise ValueError(
                f"the vote in term {new.term} would change from {hard_state.voted_for!r} "
                f"to {new.voted_for!r}"
            )
    if batch.reset is not None:
        if snapshot is None or snapshot.index < batch.reset.index:
            # Such a log could not be opened again.
            raise ValueError(f"no snapshot covers the reset to entry {batch.reset.index}")
        last_index, term = batch.reset.index, batch.reset.term
    else:
        term = None
    entries = batch.entries
    if not entries:
        return last_index
    before = entries[0].index - 1
    if before > last_index or (term is not None and before != last_index):
        raise ValueError(f"entry {before + 1} cannot follow entry {last_index}")
    term = term_at(before) if term is None else term
    expected = before + 1
    for entry in entries:
        if entry.index != expected or entry.term < term:
            raise ValueError(
                f"entry {entry.index} of term {entry.term} cannot follow "
                f"entry {expected - 1} of term {term}"
            )
        expected += 1
        term = entry.term
    _check_term(term)
    return before


def _check_term(term: int) -> None:
    if not 0 <= term <= MAX_TERM:
        raise ValueError(f"term {term} does not fit into 128 bits")
