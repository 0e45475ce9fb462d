"""Channels, subchannels and servers as channelz shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from trioraft._proto.grpc import channelz_pb2 as pb
from trioraft.rpc.client.connections.connectivity import ConnectivityState
from trioraft.rpc.registry import (
    ChannelEntry,
    Registry,
    ServerEntry,
    SubchannelEntry,
    Trace,
    TraceEvent,
)
from trioraft.rpc.wire.connection import Connection

__all__ = ["Messages", "Timestamp"]

#: Its fields: the messages are of a pool of their own, which takes no other pool's.
Timestamp: TypeAlias = dict[str, int]


class Messages:
    """Makes them of a register's entries, as they are now."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def timestamp(self, at: float | None) -> Timestamp | None:
        """A time of Trio's by the wall clock. None stays None, which leaves a field unset."""
        if at is None:
            return None
        seconds, micros = divmod(round(self._registry.wall_time(at) * 1_000_000), 1_000_000)
        return {"seconds": seconds, "nanos": micros * 1000}

    def channel(self, entry: ChannelEntry) -> pb.Channel:
        """With references to its subchannels."""
        return pb.Channel(
            ref=pb.ChannelRef(channel_id=entry.id, name=entry.name),
            data=self._data(entry, entry.state, entry.max_connections),
            subchannel_ref=[
                pb.SubchannelRef(subchannel_id=number, name=subchannel.name)
                for number, subchannel in entry.subchannels.items()
            ],
        )

    def subchannel(self, entry: SubchannelEntry) -> pb.Subchannel:
        """With references to its connections."""
        return pb.Subchannel(
            ref=pb.SubchannelRef(subchannel_id=entry.id, name=entry.name),
            data=self._data(entry, entry.state),
            socket_ref=_refs(entry.connections),
        )

    def server(self, entry: ServerEntry) -> pb.Server:
        """With references to its listeners; its connections have a list of their own."""
        totals = entry.totals()
        return pb.Server(
            ref=pb.ServerRef(server_id=entry.id, name=entry.name),
            data=pb.ServerData(
                trace=self._trace(entry.trace),
                calls_started=totals.started,
                calls_succeeded=totals.succeeded,
                calls_failed=totals.failed,
                last_call_started_timestamp=self.timestamp(totals.last),
            ),
            listen_socket=[
                pb.SocketRef(socket_id=number, name=listener.name)
                for number, listener in entry.listeners.items()
            ],
        )

    def _data(
        self,
        entry: ChannelEntry | SubchannelEntry,
        state: ConnectivityState,
        max_connections: int = 0,
    ) -> pb.ChannelData:
        totals = entry.totals()
        return pb.ChannelData(
            state=pb.ChannelConnectivityState(state=state),
            target=entry.name,
            trace=self._trace(entry.trace),
            calls_started=totals.started,
            calls_succeeded=totals.succeeded,
            calls_failed=totals.failed,
            last_call_started_timestamp=self.timestamp(totals.last),
            max_connections_per_subchannel=max_connections,
        )

    def _trace(self, trace: Trace) -> pb.ChannelTrace:
        return pb.ChannelTrace(
            num_events_logged=trace.logged,
            creation_timestamp=self.timestamp(trace.created),
            events=map(self._event, trace.events),
        )

    def _event(self, event: TraceEvent) -> pb.ChannelTraceEvent:
        message = pb.ChannelTraceEvent(
            description=event.description,
            severity=f"CT_{event.severity.name}",
            timestamp=self.timestamp(event.at),
        )
        if event.subchannel is not None:
            number, name = event.subchannel
            message.subchannel_ref.subchannel_id, message.subchannel_ref.name = number, name
        return message


def _refs(connections: Mapping[int, Connection]) -> list[pb.SocketRef]:
    return [
        pb.SocketRef(socket_id=number, name=connection.name)
        for number, connection in connections.items()
    ]
