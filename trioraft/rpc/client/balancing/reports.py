"""Load reports (ORCA) as balancers get them. Sources: gRPC proposals A51 and A58.

Not imported before a channel balances by them: it loads the messages.
"""

from __future__ import annotations

from trioraft.rpc.metadata import decode_binary
from trioraft.rpc.orca import TRAILER, LoadReport

__all__ = ["load_in"]

_TRAILER = TRAILER.encode("ascii")


def load_in(headers: tuple[tuple[bytes, bytes], ...]) -> LoadReport | None:
    """The report in a call's trailers, as `orca.load_of` but for header fields.

    None if there is none or several, or if it is not valid.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == _TRAILER:
            if found is not None:
                return None
            found = value
    if found is None:
        return None
    try:
        return LoadReport.decode(decode_binary(found))
    except ValueError:
        return None
