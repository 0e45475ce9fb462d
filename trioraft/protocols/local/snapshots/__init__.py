"""Snapshots between two trioraft nodes: `schema/local/snapshot.proto`, both ends."""

from .service import SnapshotService
from .transport import SnapshotTransport

__all__ = ["SnapshotService", "SnapshotTransport"]
