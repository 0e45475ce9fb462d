"""The snapshots of a group: taken, sent, received, fetched, installed."""

from .snapshots import Snapshots

__all__ = ["Snapshots"]
