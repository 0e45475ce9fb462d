"""What the allocator is told about large messages: that blocks of their size come again and again.

glibc gives the top of its heap back to the kernel whenever more of it is free than a threshold,
which is twice the largest block that it has mapped by itself and seen freed. A message is encoded
from one block into another of its size. With both free the threshold is passed, or just not, as
the heap happens to lie. If it is, the kernel zeroes all their pages anew for each message, which
takes longer than everything else that is done with it: 0.7 GB/s instead of 1.8 with messages of
1 MiB. So a larger block is mapped and freed once, untouched: the threshold moves out of the way.

Source: mallopt(3), on M_MMAP_THRESHOLD and its dynamic adjustment. Other allocators take no notice.
"""

from __future__ import annotations

__all__ = ["expect_blocks"]

_FACTOR = 4  # blocks of a message's size that may be free at once, about half as many as allowed
_MOST = (32 << 20) - (64 << 10)  # glibc adjusts to no larger block than 32 MiB

_expected = 128 << 10  # bytes; glibc's threshold to begin with


def expect_blocks(size: int) -> None:
    """A message of `size` bytes is sent or received: others like it may follow.

    Up to 16 times as many bytes, and 64 MiB at most, may stay with the process when they are free.
    Costs a comparison, but for the first message of each size that is more than twice a former.
    """
    global _expected
    if size > _expected:
        while _expected < size:
            _expected *= 2
        bytes(min(_FACTOR * _expected, _MOST))
