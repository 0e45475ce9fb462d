"""Errors of a block that hides a nursery leave it as they were raised.

A nursery wraps what comes out of it in an ExceptionGroup. For the user of `open_node` the
nursery is an implementation detail: an error of the block's body, or the one error that kept
the node from starting, comes out as itself. Several errors at once stay a group.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

__all__ = ["plain_errors"]


@asynccontextmanager
async def plain_errors() -> AsyncIterator[AbstractContextManager[None]]:
    """Yields a context manager to put around the user's body."""
    raised: list[BaseException] = []

    @contextmanager
    def body() -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            raised.append(error)
            raise

    try:
        yield body()
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        for error in raised:
            # A nursery rebuilds the groups that pass it: only the leaves stay what they were.
            if [id(leaf) for leaf in _leaves(error)] == [id(leaf) for leaf in leaves]:
                raise error from error.__cause__
        if len(leaves) == 1:
            raise leaves[0] from leaves[0].__cause__
        raise


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for child in error.exceptions:
            yield from _leaves(child)
    else:
        yield error
