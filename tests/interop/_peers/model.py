"""A call to make and what came of it, as plain data that crosses process boundaries as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ._gen.interop_pb2 import Reply

SERVICE = "/trioraft.interop.Interop/"

#: (client streams, server streams) of each method.
METHODS = {
    "Unary": (False, False),
    "ServerStream": (False, True),
    "ClientStream": (True, False),
    "Bidi": (True, True),
    "HowEnded": (False, False),
    "Missing": (False, False),
}

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True)
class Call:
    """What a client is to do.

    requests: serialized instructions. timeout: seconds, None for none. cancel_after: the client
    cancels that many seconds after its start. cancel_after_replies: the client cancels once it
    has that many. pause: seconds to wait before reading the first reply.
    """

    method: str
    requests: Sequence[bytes]
    timeout: float | None = None
    metadata: Metadata = ()
    cancel_after: float | None = None
    cancel_after_replies: int | None = None
    pause: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What a client saw: status by name, serialized replies, metadata, seconds it took.

    Metadata is what the application gets; binary values are bytes.
    """

    code: str
    message: str
    replies: Sequence[bytes]
    initial: Metadata
    trailing: Metadata
    seconds: float

    @property
    def parsed(self) -> list[Reply]:
        """The replies as messages."""
        return [Reply.FromString(reply) for reply in self.replies]

    @property
    def only(self) -> Reply:
        """The one reply of a call that succeeded."""
        assert (self.code, len(self.replies)) == ("OK", 1), self.summary
        return self.parsed[0]

    @property
    def summary(self) -> str:
        """For messages of failed assertions."""
        return f"{self.code} {self.message!r}, {len(self.replies)} replies in {self.seconds:.2f} s"


class Caller(Protocol):
    """Any client on any server."""

    async def run(self, *calls: Call) -> list[Outcome]:
        """Make the calls at the same time, on one connection."""


def dumps(value: Any) -> str:
    """One line of JSON; bytes become {"b64": ...}."""
    return json.dumps(value, default=lambda raw: {"b64": base64.b64encode(raw).decode()})


def loads(line: str | bytes) -> Any:
    """Undo `dumps`."""
    return json.loads(line, object_hook=_bytes_back)


def call_from(fields: dict[str, Any]) -> Call:
    """A call from its JSON fields."""
    metadata = [(key, value) for key, value in fields.pop("metadata")]
    return Call(metadata=metadata, **fields)


def outcome_from(fields: dict[str, Any]) -> Outcome:
    """An outcome from its JSON fields."""
    initial = [(key, value) for key, value in fields.pop("initial")]
    trailing = [(key, value) for key, value in fields.pop("trailing")]
    return Outcome(initial=initial, trailing=trailing, **fields)


def fields_of(value: Call | Outcome) -> dict[str, Any]:
    """The JSON fields of either."""
    return asdict(value)


def _bytes_back(fields: dict[str, Any]) -> Any:
    return base64.b64decode(fields["b64"]) if fields.keys() == {"b64"} else fields
