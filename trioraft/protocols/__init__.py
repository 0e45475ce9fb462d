"""Wire dialects, one folder each: how nodes talk to each other and to clients. Translation only."""

from __future__ import annotations

from importlib import import_module

from trioraft.raft.errors import ConfigurationError

from .dialect import Dialect

__all__ = ["Dialect", "dialect"]

# Loaded when chosen: a node speaks one of them.
_DIALECTS = {"openraft": "OpenraftDialect", "ratis": "RatisDialect"}


def dialect(name: str) -> Dialect:
    """The peer dialect called `name`. Raises ConfigurationError listing the names there are."""
    if name not in _DIALECTS:
        known = ", ".join(_DIALECTS)
        raise ConfigurationError(f"no wire dialect {name!r}; there are: {known}")
    made: Dialect = getattr(import_module(f".{name}", __name__), _DIALECTS[name])()
    return made
