"""What the fuzzer has found worth keeping, and what hypothesis makes of it: part of every test run.

The fuzzer itself, which follows coverage, is `make fuzz`; see `__main__`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import _fuzz_parsers
import _fuzz_sessions
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).resolve().parent / "corpus"
TARGETS = {**_fuzz_parsers.TARGETS, **_fuzz_sessions.TARGETS}

# A connection costs thousands of times what a parser does.
_EXAMPLES = {"server": 60, "client": 40}

property_settings = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """The targets change loggers, as they do in the fuzzer's own process: put them back."""
    loggers = [logging.getLogger(name) for name in ("trioraft", "trioraft.drpc")]
    before = [(log.level, log.propagate, list(log.handlers)) for log in loggers]
    _fuzz_parsers.quieten()
    yield
    for log, (level, propagate, handlers) in zip(loggers, before, strict=True):
        log.setLevel(level)
        log.propagate = propagate
        log.handlers[:] = handlers


def corpus(name: str) -> list[bytes]:
    """The kept inputs of a target, in a fixed order."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_runs_clean(name: str) -> None:
    inputs = corpus(name)
    assert inputs
    for data in inputs:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_anything_runs_clean(name: str) -> None:
    @settings(property_settings, max_examples=_EXAMPLES.get(name, 300))
    @given(st.binary(max_size=200))
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_almost_right_runs_clean(name: str) -> None:
    """Inputs of the corpus with pieces cut out, overwritten, repeated and joined."""
    inputs = corpus(name)

    @settings(property_settings, max_examples=_EXAMPLES.get(name, 300))
    @given(st.data())
    def run(data: st.DataObject) -> None:
        text = bytearray(data.draw(st.sampled_from(inputs)))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(text)))
            upto = data.draw(st.integers(at, min(len(text), at + 20)))
            piece = data.draw(
                st.one_of(st.binary(max_size=6), st.sampled_from(inputs).map(lambda b: b[:20]))
            )
            text[at:upto] = piece
        TARGETS[name](bytes(text))

    run()


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_json_that_is_nested_too_deep_is_refused(opening: bytes) -> None:
    _fuzz_parsers.service_config(opening * 100_000)


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\x01"])
def test_msgpack_that_is_nested_too_deep_is_refused(opening: bytes) -> None:
    for kind in range(7):
        _fuzz_parsers.openraft(bytes([kind]) + opening * 100_000)
