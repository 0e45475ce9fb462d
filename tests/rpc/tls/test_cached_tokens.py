"""Call credentials that keep a token: fetched once for all, anew in time, never twice at once."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trioraft.rpc import (
    CachedToken,
    CallInfo,
    Token,
)

SECRET = "s3cret"
CALL = CallInfo("https://a/b", "c")


class Source:
    """Gives tokens 1, 2, 3, ... of 1,000 seconds; takes a second for each."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None

    async def __call__(self) -> Token:
        await trio.sleep(1)
        self.count += 1
        if self.error is not None:
            raise self.error
        return Token(str(self.count), 1000)


async def test_one_fetches_for_all(autojump_clock: object) -> None:
    source = Source()
    cached = CachedToken(source)
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(cached, CALL)
    assert source.count == 1
    assert await cached(CALL) == [("authorization", "Bearer 1")]
    assert trio.current_time() == 1


async def test_it_is_fetched_anew_before_it_expires(autojump_clock: object) -> None:
    source = Source()
    cached = CachedToken(source, refresh_before=100, key="x-token", scheme="Key")
    await cached(CALL)
    await trio.sleep(899)
    assert await cached(CALL) == [("x-token", "Key 1")]
    await trio.sleep(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cached, CALL)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        assert await cached(CALL) == [("x-token", "Key 1")]  # good for some time yet
        assert trio.current_time() == before
    assert await cached(CALL) == [("x-token", "Key 2")]
    assert source.count == 2


async def test_a_source_that_fails(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source()
    cached = CachedToken(source, refresh_before=100)
    source.error = OSError(SECRET)
    with pytest.raises(OSError, match=SECRET):
        await cached(CALL)
    source.error = None
    token = await cached(CALL)
    await trio.sleep(901)
    source.error = OSError(SECRET)
    for _ in range(5):
        assert await cached(CALL) == token
    assert source.count == 3  # one failed attempt, then a pause
    await trio.sleep(10)
    assert await cached(CALL) == token
    assert source.count == 4
    await trio.sleep(100)
    with pytest.raises(OSError, match=SECRET):
        await cached(CALL)
    assert SECRET not in caplog.text


async def test_a_call_that_gives_up_leaves_it_to_the_next(autojump_clock: object) -> None:
    source = Source()
    cached = CachedToken(source)
    with trio.move_on_after(0.5):
        await cached(CALL)
    assert await cached(CALL) == [("authorization", "Bearer 1")]


async def test_forgetting(autojump_clock: object) -> None:
    cached = CachedToken(Source())
    await cached(CALL)
    cached.forget()
    assert await cached(CALL) == [("authorization", "Bearer 2")]
    assert SECRET not in repr(Token(SECRET, 1))


async def test_short_lives_are_used_by_half(autojump_clock: object) -> None:
    count = 0

    async def fetch() -> Token:
        nonlocal count
        count += 1
        return Token(str(count), 10)

    cached = CachedToken(fetch)
    for _ in range(40):
        await cached(CALL)
        await trio.sleep(1)
    assert count == 8
