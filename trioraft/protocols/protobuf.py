"""A few bytes of protobuf by hand, where messages are put together from parts encoded before.

Serializing a message copies the bytes fields in it several times; a prefix in front of bytes
that exist already, joined once with everything around them, does not.
"""

from __future__ import annotations

__all__ = ["prefix", "varint"]


_SMALL = [bytes([number]) for number in range(0x80)]


def varint(number: int) -> bytes:
    """An unsigned varint. `number` must not be negative."""
    if number < 0x80:
        return _SMALL[number]
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    if number < 0x200000:
        return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def prefix(field: int, size: int) -> bytes:
    """What stands before a length-delimited field (number below 16) of `size` bytes."""
    return _SMALL[field << 3 | 2] + varint(size)
