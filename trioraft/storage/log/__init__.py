"""The log of one group in files: records, where they are, how they are written and recovered."""

from .log import FileStorage

__all__ = ["FileStorage"]
