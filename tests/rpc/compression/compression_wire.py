"""An HTTP/2 engine that keeps the headers and the message flags that it is given to send."""

from __future__ import annotations

from typing import Any

from ngh2 import Connection as Engine


class Wire:
    """What was sent: headers, and the first byte of messages."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget it."""
        self.requests: list[dict[bytes, bytes]] = []
        self.responses: list[dict[bytes, bytes]] = []
        self.flags: list[int] = []


def spy_on(seen: Wire) -> type[Engine]:
    """The engine's class, with a look at what goes in."""

    class Spy(Engine):
        def send_request(self, headers: Any, **options: Any) -> int:
            seen.requests.append(dict(headers))
            return super().send_request(headers, **options)

        def send_response(self, stream_id: int, headers: Any, **options: Any) -> None:
            seen.responses.append(dict(headers))
            super().send_response(stream_id, headers, **options)

        def send_data(self, stream_id: int, data: Any, **options: Any) -> None:
            if data:
                seen.flags.append(data[0])  # a small message goes together with its prefix
            super().send_data(stream_id, data, **options)

    return Spy
