"""Fixtures of the RPC tests: the generated echo code, a service, a server with a channel to it."""

from __future__ import annotations

import sys
from pathlib import Path

# Generated modules import each other by plain name.
sys.path.insert(0, str(Path(__file__).parent / "_gen"))
