"""Lets the tests of the dialects use the helpers of `tests/machines` and `tests/node`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "machines"))
sys.path.append(str(Path(__file__).parent.parent / "node"))
