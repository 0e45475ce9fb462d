"""The engine's errors in the services that an application puts in front of its state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trioraft.protocols.local.errors import status_of
from trioraft.raft.errors import TrioraftError
from trioraft.rpc import GRPCError

__all__ = ["grpc_errors"]


@contextmanager
def grpc_errors() -> Iterator[None]:
    """Answer a call with the status that an error of the engine stands for.

        async def TryLock(self, request: Acquire) -> Holder:
            with trioraft.grpc_errors():
                return Holder.FromString(await self.node.propose(request.SerializeToString()))

    Without it the caller gets UNKNOWN, and this server's log a traceback. UNAVAILABLE and
    RESOURCE_EXHAUSTED say that nothing has happened; after ABORTED (`ProposalDroppedError`) and
    INTERNAL (`GroupStoppedError`) a write may have taken effect, or will. The rest are mistakes:
    INVALID_ARGUMENT and FAILED_PRECONDITION.

    A connection that is lost is UNAVAILABLE to the caller, too, whatever became of the call: what
    a retry policy makes again must be harmless twice, or a write of a session.

    Raises GRPCError from a TrioraftError; other exceptions pass.
    """
    try:
        yield
    except TrioraftError as error:
        status, _ = status_of(error)
        raise GRPCError(status, str(error)) from error
