"""The dialect of openraft nodes behind a RaftService: msgpack values in protobuf envelopes."""

from __future__ import annotations

from .dialect import OpenraftDialect

__all__ = ["OpenraftDialect"]
