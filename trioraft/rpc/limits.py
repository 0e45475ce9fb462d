"""Every bound of an RPC endpoint in one frozen record, with its default and what happens at it."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB

#: Largest flow-control window HTTP/2 can express (RFC 9113 §6.9.1).
MAX_WINDOW = 2**31 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds for one server (`serve(limits=)`) or one channel (`open_channel(limits=)`).

    Sizes are bytes, times are seconds on Trio's clock.

    Attributes:
        max_receive_message: Largest message accepted. Checked on the five-byte prefix, before
            anything is buffered. Beyond it the call ends with RESOURCE_EXHAUSTED.
        max_send_message: Largest message sent. Beyond it the sender gets RESOURCE_EXHAUSTED and
            nothing goes out.
        max_header_list: Largest request header list a server accepts, counted as RFC 9113
            §6.5.2 does. Beyond it the call gets RESOURCE_EXHAUSTED; beyond eight times it the
            connection is closed.
        max_trailer_list: Largest response header or trailer list a client accepts. Beyond it
            the connection is closed.
        max_status: Server: encoded bytes of a status message and its details (rich errors)
            together; at most 60 KiB. Beyond it the message is cut and the details are left out.
            The default fits what grpcio's clients accept in trailers, 8 KiB; above 64 KiB in one
            field HTTP/2 libraries end the connection.
        max_concurrent_streams: Calls at once on one connection. A server refuses more
            (REFUSED_STREAM); a client makes further calls wait for a free slot.
        max_waiting_calls: Client: calls that may wait for a connection or for a slot on one.
            Beyond it RESOURCE_EXHAUSTED.
        stream_window: Receive window of one stream: how much a peer can send on it before the
            application takes messages. What one connection buffers is bounded by
            `max_concurrent_streams` times this window and one incomplete message. The
            connection's window is twice the product of the two, so that a stream which nobody
            reads never takes window from its neighbours; the product is at most 2**30.
        bulk_window: Receive window of a stream that has brought twice `stream_window` to an
            application that keeps up. So a bulk transfer is not held up by the way to its sender
            and back. Not above `stream_window`: windows never grow.
        max_bulk_streams: Streams of one connection that have such a window at once; more keep
            theirs. What one connection buffers grows by no more than the product of the two.
        max_queued_bytes: Unsent message bytes of one stream above which `send_message` waits.
        max_replay: Client: bytes of one call's messages that are kept to be sent again. Beyond it
            the call can no longer be retried or hedged (docs/rpc-retries.md); it goes on.
        max_replay_channel: Client: the same for all calls of a channel together that a retry or
            hedging policy holds for.
        max_connections: Server: open connections. One more is closed at once.
        max_connections_per_peer: Server: of them, from one IP address; None is no bound of their
            own, for servers behind proxies and load balancers. One more is closed at once.
        max_handlers: Server: handlers that run at once, on all connections together. One more call
            gets RESOURCE_EXHAUSTED; calls answered in place (`InPlaceHandler`) need none.
        handshake_timeout: Time for TLS and the HTTP/2 preface, after which a silent
            connection is closed.
        connect_timeout: Client: least time for dialling, TLS and the server's first SETTINGS. An
            attempt may take until the next one is due, if that is later.
        close_timeout: Time a closing endpoint spends on handing its GOAWAY to the network.
        reconnect_min: Client: time from the start of the first failed attempt to connect to the
            next. It grows by 1.6 per failure, with 20% jitter either way, up to `reconnect_max`.
            Meanwhile calls fail at once with UNAVAILABLE, unless they wait for ready.
        reconnect_max: Client: longest time between the starts of two attempts, before jitter.
        attempt_delay: Client: time that one address has to answer before the next one is tried
            beside it (RFC 8305, "Connection Attempt Delay").
        resolve_interval: Client: least time between two successful look-ups of a name.
        idle_timeout: Client: time without calls after which a channel lets go of its connections
            and is IDLE; up to a tenth more. Infinity: never.
        max_connections_per_address: Client: connections to one address. One more is made when
            calls wait because every stream is taken (gRPC proposal A105). 1: they wait.
        silence_timeout: Time sent data may stay unacknowledged by the peer's TCP before the
            connection counts as lost.
        reset_burst: Server: RST_STREAM frames a peer may send in a burst before the connection
            is closed (CVE-2023-44487, "rapid reset").
        reset_rate: Server: RST_STREAM frames per second that refill the burst.
        control_burst: SETTINGS frames, and PINGs while nothing else happens on the connection,
            that a peer may send in a burst. Beyond it the connection is closed
            (ENHANCE_YOUR_CALM). A PING after any message or call of either side is free.
        control_rate: Such frames per second that refill the burst.
        max_buffered: Bytes that a connection keeps of messages which have begun and are not
            complete, all calls together; at least two of `max_receive_message`. A call that
            would need more ends with RESOURCE_EXHAUSTED. (Complete messages that nobody takes stay
            within the windows.)
    """

    max_receive_message: int = 4 * MIB
    max_send_message: int = 4 * MIB
    max_header_list: int = 64 * KIB
    max_trailer_list: int = MIB
    max_status: int = 7 * KIB
    max_concurrent_streams: int = 1000
    max_waiting_calls: int = 10_000
    stream_window: int = 512 * KIB
    bulk_window: int = 4 * MIB
    max_bulk_streams: int = 8
    max_queued_bytes: int = 256 * KIB
    max_replay: int = 256 * KIB
    max_replay_channel: int = 16 * MIB
    max_connections: int = 10_000
    max_connections_per_peer: int | None = None
    max_handlers: int = 100_000
    handshake_timeout: float = 10.0
    connect_timeout: float = 20.0
    close_timeout: float = 0.25
    reconnect_min: float = 1.0
    reconnect_max: float = 120.0
    attempt_delay: float = 0.25
    resolve_interval: float = 30.0
    idle_timeout: float = 1800.0
    max_connections_per_address: int = 1
    silence_timeout: float = 10.0
    reset_burst: int = 10_000
    reset_rate: int = 1_000
    control_burst: int = 1_000
    control_rate: int = 100
    max_buffered: int = 256 * MIB

    def __post_init__(self) -> None:
        for name in ("max_receive_message", "max_send_message"):
            if not 0 <= getattr(self, name) < 2**32:
                raise ValueError(f"{name} must be between 0 and 2**32 - 1")
        for name in ("max_replay", "max_replay_channel"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if not 16 <= self.max_status <= 60 * KIB:
            raise ValueError("max_status must be between 16 and 61440")
        if not 1 <= self.stream_window <= MAX_WINDOW:
            raise ValueError(f"stream_window must be between 1 and {MAX_WINDOW}")
        for name in (
            "max_header_list",
            "max_trailer_list",
            "max_concurrent_streams",
            "max_queued_bytes",
            "max_connections",
            "max_handlers",
            "max_connections_per_address",
            "control_burst",
            "max_buffered",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.max_connections_per_peer is not None and self.max_connections_per_peer < 1:
            raise ValueError("max_connections_per_peer must be at least 1, or None")
        if not 0 <= self.bulk_window <= MAX_WINDOW:
            raise ValueError(f"bulk_window must be between 0 and {MAX_WINDOW}")
        if not 0 <= self.max_bulk_streams * self.bulk_window <= 2**29:
            raise ValueError("bulk_window * max_bulk_streams must be between 0 and 2**29")
        if self.stream_window * self.max_concurrent_streams > 2**30:
            raise ValueError("stream_window * max_concurrent_streams must be at most 2**30")
        if not 0 < self.reconnect_min <= self.reconnect_max:
            raise ValueError("reconnect_min must be positive and at most reconnect_max")
        if not 0.1 <= self.attempt_delay <= 2:
            raise ValueError("attempt_delay must be between 0.1 and 2 s")
        if not (self.idle_timeout > 0 and self.resolve_interval >= 0):
            raise ValueError("idle_timeout must be positive, resolve_interval not negative")

    @property
    def connection_window(self) -> int:
        """Connection-level receive window.

        Room for every stream to fill its own, and as much again: the engine reopens the
        connection's window when half of it is consumed (RFC 9113 §6.9 leaves the moment open).
        """
        all_streams = self.stream_window * self.max_concurrent_streams
        bulk = max(0, self.bulk_window - self.stream_window) * self.max_bulk_streams
        return max(65_535, min(MAX_WINDOW, 2 * (all_streams + bulk)))
