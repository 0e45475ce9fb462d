"""The log as the core sees it: the terms of all its entries (`terms`), and the newest (`log`)."""

from .log import COPIES, ENTRY_OVERHEAD, RaftLog

__all__ = ["COPIES", "ENTRY_OVERHEAD", "RaftLog"]
