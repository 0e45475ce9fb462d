"""The dialect of Apache Ratis 3.2: its server protocol over gRPC, for groups with its nodes."""

from __future__ import annotations

from .dialect import RatisDialect

__all__ = ["RatisDialect"]
