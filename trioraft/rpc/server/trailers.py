"""What a call's status takes along, whichever way the call comes to end: trailing metadata."""

from __future__ import annotations

from collections.abc import Sequence

from trioraft.rpc.metadata import MetadataLike, encode_metadata

__all__ = ["Trailers"]

_PUSHBACK = b"grpc-retry-pushback-ms"


class Trailers:
    """The part of a `ServerStream` that collects trailing metadata. Internal.

    It goes last among the bases: what a call inherits from the others is found no later for it.
    """

    _extra_trailers: list[tuple[bytes, bytes]] | None = None  # the two below together
    _set_trailers: Sequence[tuple[bytes, bytes]] = ()
    _added_trailers: Sequence[tuple[bytes, bytes]] = ()

    def set_trailing_metadata(self, metadata: MetadataLike) -> None:
        """Have `metadata` go with the status, whichever way the call comes to end.

        Replaces what an earlier call of this has set; what `send_trailing_metadata` is given comes
        after it. Does nothing if the status has been sent. Never waits.

        Raises:
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        self._set_trailers = encode_metadata(metadata)
        self._extra_trailers = [*self._set_trailers, *self._added_trailers]

    def push_back(self, seconds: float | None) -> None:
        """Tell a caller that may try again when to: `seconds` from now; None is never.

        It goes with the status, if that is not OK and nothing was sent before it: callers follow
        no other (gRFC A6, "Pushback"). Replaces what an earlier call has said. Never waits.

        Raises:
            ValueError: Negative, or more than 2**31 - 1 milliseconds.
        """
        milliseconds = -1 if seconds is None else round(seconds * 1000)
        if seconds is not None and not 0 <= milliseconds < 2**31:
            raise ValueError(f"pushback must be between 0 and 2147483.647 s, not {seconds!r}")
        others = [pair for pair in self._added_trailers if pair[0] != _PUSHBACK]
        self._added_trailers = [*others, (_PUSHBACK, b"%d" % milliseconds)]
        self._extra_trailers = [*self._set_trailers, *self._added_trailers]

    def add_trailing_metadata(self, metadata: MetadataLike) -> None:
        """Have `metadata` go with the status besides what is set: for those around the handler.

        Stays when `set_trailing_metadata` is called. Replaces what an earlier call of this has
        added under the same names. Does nothing if the status has been sent. Never waits.

        Raises:
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        added = encode_metadata(metadata)
        names = {name for name, _ in added}
        kept = [field for field in self._added_trailers if field[0] not in names]
        self._added_trailers = kept + added
        self._extra_trailers = [*self._set_trailers, *self._added_trailers]
