"""What is wrong with a handler, told before the first call where that is possible."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["checked"]


def checked(
    method: Callable[..., Awaitable[Any]], *arguments: str
) -> Callable[..., Awaitable[Any]]:
    """The handler itself, if it is a coroutine function that takes these arguments.

    A plain function may be right, too: it may return what another one gives. So one whose answer
    cannot be awaited is told at the call.

    Raises:
        TypeError: It yields, or takes other arguments; the message says how it is written.
    """
    name: str = getattr(method, "__qualname__", type(method).__qualname__)
    form = f"async def {name.rpartition('.')[2]}(self, {', '.join(arguments)})"
    if inspect.isasyncgenfunction(method):
        raise TypeError(
            f"{name} yields; a handler is `{form}`, and sends each reply with "
            "`await replies.send(reply)`"
        )
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError as error:
        raise TypeError(
            f"{name}: {error}; a handler is `{form}`, and finds the call itself by "
            "`trioraft.rpc.current_call()`"
        ) from None
    except ValueError:
        pass  # a callable without a signature: its calls will tell
    if inspect.iscoroutinefunction(method):
        return method

    async def awaited(*given: Any) -> Any:
        answer = method(*given)
        if not inspect.isawaitable(answer):
            raise TypeError(f"{name} is not async; a handler is `{form}`")
        return await answer

    return awaited
