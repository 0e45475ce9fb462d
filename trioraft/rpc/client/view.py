"""A channel as a stub is handed it: as it is, or with another default for the stub's calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calls.stream import ClientStream
    from .channel import Channel

__all__ = ["ChannelView", "StubChannel"]

# Generated stubs annotate their channel as `grpclib.client.Channel`. Ours is none, and needs not be
# one at run time; an unknown base keeps type checkers of applications content.
if TYPE_CHECKING:
    StubChannel = Any
else:
    StubChannel = object


class ChannelView(StubChannel):  # type: ignore[misc]
    """What `Channel.with_options` returns. Connections are the channel's; it is not opened itself.

    grpclib's stubs take no options but timeout and metadata, so the option is the stub's:
    `EchoStub(channel.with_options(wait_for_ready=True))`.
    """

    def __init__(self, channel: Channel, *, wait_for_ready: bool) -> None:
        self.channel = channel
        self.wait_for_ready = wait_for_ready

    def __repr__(self) -> str:
        return f"<{self.channel!r}, wait_for_ready={self.wait_for_ready}>"

    def request(self, *args: Any, **options: Any) -> ClientStream[Any, Any]:
        """As `Channel.request`; what the call says itself counts."""
        if options.get("wait_for_ready") is None:
            options["wait_for_ready"] = self.wait_for_ready
        return self.channel.request(*args, **options)
