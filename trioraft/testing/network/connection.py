"""A connection: two ends and a pipe each way."""

from __future__ import annotations

from collections.abc import Callable

from .addresses import split_address
from .pipe import Pipe
from .stream import SimStream
from .wire import Wire

__all__ = ["Connection"]


class Connection:
    """Both ends of a connection, the dialling one first; pipe n carries what end n sends.

    on_done: called when both ends are closed or reset, each time that one of them says so.
    """

    def __init__(
        self, wire: Wire, number: int, local: str, address: str, on_done: Callable[[], None]
    ) -> None:
        near_host, far_host = split_address(local)[0], split_address(address)[0]
        out = Pipe(wire, f"#{number}>", near_host, far_host)
        back = Pipe(wire, f"#{number}<", far_host, near_host)

        def settle() -> None:
            if near.done and far.done:
                on_done()

        near = SimStream(local, address, back, out, settle)
        far = SimStream(address, local, out, back, settle)
        out.sender = back.receiver = near
        out.receiver = back.sender = far
        self.ends = (near, far)
        self.pipes = (out, back)
        self._wire = wire

    def resume(self) -> None:
        """Go on after a block was lifted: reset what lost bytes, send again what waited."""
        for pipe in self.pipes:
            if (pipe.source, pipe.target) in self._wire.blocks:
                continue
            if pipe.lossy:
                for end in self.ends:
                    end.on_reset("connection timed out: the network lost its bytes")
                return
        for pipe in self.pipes:
            if (pipe.source, pipe.target) not in self._wire.blocks:
                pipe.resume()
        for pipe in self.pipes:
            pipe.acknowledge()
