"""One group on one node: what can be seen of it (`view`), what is asked of it (`calls`), what it is
made of (`parts`, `recovery`), and the nursery that all of that runs in (`group`)."""

from .group import Group

__all__ = ["Group"]
