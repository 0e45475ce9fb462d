"""From a Call's bytes to a Response's bytes: the part of a dRPC server that no transport changes.

The rules are those of DAOS's Go server (`ProcessMessage`), in its order: call, module, method,
payload. A non-SUCCESS Response has no body and error texts stay in the log, never on the wire.
One deviation: an unexpected exception in a handler is answered with FAILURE and the
server lives on, where a panicking Go handler takes the process with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from google.protobuf.message import DecodeError

from trioraft._proto.drpc import drpc_pb2

from .errors import DrpcFailure, DrpcStatus, UnknownMethodError, UnknownModuleError
from .module import Caller, Module

__all__ = ["UNDECODED_SEQUENCE", "Dispatcher"]

logger = logging.getLogger(__name__)

#: The sequence of a Response to a Call that could not be decoded.
UNDECODED_SEQUENCE = -1


class Dispatcher:
    """The registry of modules. Shared by all transports of a server; keeps no state per call."""

    def __init__(self, modules: Iterable[Module]) -> None:
        """Raises ValueError if two modules have the same id."""
        self._modules: dict[int, Module] = {}
        for module in modules:
            other = self._modules.setdefault(module.id, module)
            if other is not module:
                raise ValueError(
                    f"dRPC modules {other.name!r} and {module.name!r} have the same id {module.id}"
                )

    async def dispatch(self, data: bytes, caller: Caller | None = None) -> bytes:
        """Carry out one serialized `drpc.Call`; returns the serialized `drpc.Response`.

        Raises nothing of its own. Cancelling it cancels the handler, without a Response.
        """
        try:
            call = drpc_pb2.Call.FromString(data)
        except DecodeError:
            logger.warning("failed to unmarshal incoming call of %d bytes", len(data))
            return _response(UNDECODED_SEQUENCE, DrpcStatus.FAILED_UNMARSHAL_CALL)
        try:
            body = await self._run(call, caller or Caller())
        except DrpcFailure as failure:
            logger.warning("module %d method %d: %s", call.module, call.method, failure)
            return _response(call.sequence, failure.status)
        except Exception:
            # A handler's bug ends its call. Cancelled is a BaseException and passes.
            logger.exception("module %d method %d failed", call.module, call.method)
            return _response(call.sequence, DrpcStatus.FAILURE)
        return _response(call.sequence, DrpcStatus.SUCCESS, body)

    async def _run(self, call: drpc_pb2.Call, caller: Caller) -> bytes:
        module = self._modules.get(call.module)
        if module is None:
            raise UnknownModuleError
        method = module.methods.get(call.method)
        if method is None:
            raise UnknownMethodError
        return await method(call.body, caller)


def _response(sequence: int, status: int, body: bytes = b"") -> bytes:
    # Proto3 enums are open: a handler's own status number goes out as it is.
    response = drpc_pb2.Response(sequence=sequence, status=status, body=body)  # type: ignore[arg-type]
    return response.SerializeToString()
