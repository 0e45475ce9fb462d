"""How trioraft's own clients number themselves and their calls, inside the 16 + 8 bytes that
every dialect carries with a write.

A **client id** of ours is a UUID of version 8 (RFC 9562 §5.8) that holds the session's *birth*:
how many log entries the group had applied when the session was made. The session table
(`sessions`) needs it to tell a session that it has never met from one that it has forgotten.
Clients of other systems name themselves by random UUIDs (version 4) and stay recognizable.

    48 bits  birth, upper part      12 bits  birth, lower part
     4 bits  version 8               2 bits  variant 10            62 bits  random

A **call id** of ours is the number of the call, 1, 2, 3..., and in the lowest ten bits its *gap*:
how far below it the lowest call is whose answer the client still waits for. With that the
client says which answers nobody will ask for again (thesis §6.3); a retry repeats it unchanged.
"""

from __future__ import annotations

__all__ = [
    "MAX_BIRTH",
    "MAX_CALL_NUMBER",
    "MAX_OUTSTANDING",
    "birth_of",
    "call_id_of",
    "client_id_of",
    "split_call_id",
]

_GAP_BITS = 10

MAX_OUTSTANDING = 1 << _GAP_BITS
"""The calls of a session that are under way at once lie in a window of this length."""

MAX_CALL_NUMBER = (1 << 53) - 1
"""So that a call id fits into the 63 bits that Ratis has for it."""

MAX_BIRTH = (1 << 60) - 1

_VERSION = 8
_VARIANT = 0b10
_NONCE_MASK = (1 << 62) - 1


def client_id_of(birth: int, nonce: int) -> bytes:
    """The 16 bytes of a client that was born after `birth` entries; `nonce` tells it from others.

    Raises ValueError for a birth outside 0..MAX_BIRTH.
    """
    if not 0 <= birth <= MAX_BIRTH:
        raise ValueError(f"birth {birth} is not in 0..{MAX_BIRTH}")
    upper, lower = birth >> 12, birth & 0xFFF
    number = upper << 80 | _VERSION << 76 | lower << 64 | _VARIANT << 62 | nonce & _NONCE_MASK
    return number.to_bytes(16, "big")


def birth_of(client_id: bytes) -> int | None:
    """The birth that a client id of ours holds; None for an id of another making."""
    if len(client_id) != 16 or client_id[6] >> 4 != _VERSION or client_id[8] >> 6 != _VARIANT:
        return None
    return int.from_bytes(client_id[:6], "big") << 12 | (client_id[6] & 0xF) << 8 | client_id[7]


def call_id_of(number: int, lowest_open: int) -> int:
    """The id of call `number`, when `lowest_open` is the lowest call without an answer.

    Raises ValueError if the window between them is too long, or a number out of bounds.
    """
    gap = number - lowest_open
    if not 0 <= gap < MAX_OUTSTANDING or not 0 < number <= MAX_CALL_NUMBER:
        raise ValueError(f"call {number} with {lowest_open} open: at most {MAX_OUTSTANDING} apart")
    return number << _GAP_BITS | gap


def split_call_id(call_id: int) -> tuple[int, int]:
    """Inverse of `call_id_of`: the call's number, and the lowest one without an answer."""
    number = call_id >> _GAP_BITS
    return number, number - (call_id & (MAX_OUTSTANDING - 1))
