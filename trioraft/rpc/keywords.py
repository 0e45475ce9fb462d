"""Keyword arguments that a typed dict describes: type checkers see them, Python itself does not."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["check_keywords"]


def check_keywords(function: str, known: type, given: Mapping[str, object]) -> None:
    """Raise TypeError for one that `known`, a TypedDict, does not have, as any call would."""
    for name in given:
        if name not in known.__annotations__:
            raise TypeError(f"{function} got an unexpected keyword argument {name!r}")
