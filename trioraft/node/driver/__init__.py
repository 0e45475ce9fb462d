"""The driver of a group: what it is handed (`inbox`, `gathering`), its turns (`driver`), the time
that it keeps (`alarm`), and what it sends through (`outbound`).

`Driver` is one object in three layers, because its turns are the hottest path of the engine and
every hop between objects would be paid in each of them: `Inbox` takes in what peers send and what
is to be done between steps, `Gathering` what callers ask for, `Driver` steps the core with it.
"""

from .driver import Driver
from .outbound import Outbound

__all__ = ["Driver", "Outbound"]
