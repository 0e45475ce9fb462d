"""A bug for nodes that find this directory on their PYTHONPATH: every read is answered by the
node that was asked, from whatever it has. The torture must see it (test_torture.py)."""

import sys

if "trioraft" in sys.orig_argv and "node" in sys.orig_argv:
    from trioraft.host import KvBackend

    async def query(self: KvBackend, request: bytes, *, linearizable: bool) -> bytes:
        return await self._node.query(request, linearizable=False)

    KvBackend.query = query  # type: ignore[method-assign]
    KvBackend.query_for = lambda *_: False  # type: ignore[assignment, method-assign]
