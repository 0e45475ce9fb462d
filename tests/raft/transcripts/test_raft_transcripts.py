"""Every story in this folder happens as it is written down."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from raft_story import retell

STORIES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    written = path.read_text()
    happened = retell(written)
    if os.environ.get("TRIORAFT_REWRITE"):
        path.write_text(happened)
    else:
        assert happened == written


def test_there_are_stories() -> None:
    assert len(STORIES) >= 30
