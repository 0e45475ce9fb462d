"""The dispatcher against the bytes and the status table of the dRPC wire notes."""

from __future__ import annotations

import logging

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trioraft._proto.drpc.drpc_pb2 import Call, Response
from trioraft.drpc import Caller, Dispatcher, DrpcFailure, DrpcStatus, Module, typed
from trioraft.drpc.errors import (
    DrpcProtocolError,
    MarshalError,
    UnknownMethodError,
    UnknownModuleError,
    failure_for,
)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


async def greeting(body: bytes, caller: Caller) -> bytes:
    """The `hello` module of DAOS: Hello{name=1} -> HelloResponse{greeting=1}, by hand."""
    assert body[:1] == b"\x0a"
    text = b"Hello " + body[2:]
    return b"\x0a" + bytes([len(text)]) + text


async def echo(body: bytes, caller: Caller) -> bytes:
    return body


async def fail(body: bytes, caller: Caller) -> bytes:
    raise DrpcFailure("no luck", int(body))


async def wrapped(body: bytes, caller: Caller) -> bytes:
    try:
        raise UnknownModuleError
    except DrpcFailure as error:
        raise RuntimeError("while doing something else") from error


async def parse(request: Call, caller: Caller) -> Call:
    return Call(module=request.module + 1)


class Unserializable:
    @classmethod
    def FromString(cls, s: bytes) -> Unserializable:
        return cls()

    def SerializeToString(self) -> bytes:
        raise ValueError("no")


async def unserializable(request: Unserializable, caller: Caller) -> Unserializable:
    return request


HELLO = Module(0, "hello", {0: greeting})
TEST = Module(
    9,
    "test",
    {
        901: echo,
        902: fail,
        903: wrapped,
        904: typed(Call, parse),
        905: typed(Unserializable, unserializable),
    },
)


@pytest.fixture
def dispatcher() -> Dispatcher:
    return Dispatcher([HELLO, TEST])


@pytest.mark.parametrize(
    ("call", "response"),
    [
        pytest.param(
            "18 01 22 08 0a 06 66 72 69 65 6e 64",
            "08 01 1a 0e 0a 0c 48 65 6c 6c 6f 20 66 72 69 65 6e 64",
            id="a-c: hello from a Go client, sequence 1",
        ),
        pytest.param(
            "22 08 0a 06 66 72 69 65 6e 64",
            "1a 0e 0a 0c 48 65 6c 6c 6f 20 66 72 69 65 6e 64",
            id="b: hello from a C client, sequence 0 omitted",
        ),
        pytest.param("08 02 10 e1 01 18 07", "08 07 10 03", id="d-f: unknown module 2"),
        pytest.param("08 09 10 e1 01 18 07", "08 07 10 04", id="g: unknown method"),
        pytest.param(
            "10 ff ff ff ff ff ff ff ff ff 01 18 01", "08 01 10 04", id="e: method -1 of module 0"
        ),
        pytest.param("ff ff", "08 ff ff ff ff ff ff ff ff ff 01 10 05", id="h: undecodable"),
    ],
)
async def test_golden_bytes(dispatcher: Dispatcher, call: str, response: str) -> None:
    assert (await dispatcher.dispatch(unhex(call))).hex(" ") == response


async def test_an_empty_call_is_module_0_method_0() -> None:
    assert (await Dispatcher([]).dispatch(b"")).hex(" ") == "10 03"
    empty = Dispatcher([Module(0, "zero", {0: echo})])
    assert await empty.dispatch(b"") == b""  # SUCCESS, sequence 0, no body


def test_golden_bytes_of_calls() -> None:
    assert (
        Call(module=2, method=225, sequence=7).SerializeToString().hex(" ")
        == "08 02 10 e1 01 18 07"
    )
    assert Call(method=-1, sequence=1).SerializeToString().hex(" ") == (
        "10 ff ff ff ff ff ff ff ff ff 01 18 01"
    )


async def send(dispatcher: Dispatcher, method: int, body: bytes = b"") -> Response:
    call = Call(module=9, method=method, sequence=5, body=body)
    return Response.FromString(await dispatcher.dispatch(call.SerializeToString()))


@pytest.mark.parametrize("status", [2, 3, 4, 5, 6, 7, 99])
async def test_a_failure_chooses_the_status_and_has_no_body(
    dispatcher: Dispatcher, status: int
) -> None:
    response = await send(dispatcher, 902, str(status).encode())
    assert (response.sequence, response.status, response.body) == (5, status, b"")


async def test_any_other_exception_is_failure_and_logged_once(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        response = await send(dispatcher, 903)
    assert (response.sequence, response.status, response.body) == (5, DrpcStatus.FAILURE, b"")
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is not None


async def test_typed_methods(dispatcher: Dispatcher) -> None:
    response = await send(dispatcher, 904, Call(module=41).SerializeToString())
    assert response.status == DrpcStatus.SUCCESS
    assert Call.FromString(response.body).module == 42
    assert (await send(dispatcher, 904, b"\xff")).status == DrpcStatus.FAILED_UNMARSHAL_PAYLOAD
    assert (await send(dispatcher, 905)).status == DrpcStatus.FAILED_MARSHAL


async def test_cancelling_cancels_the_handler() -> None:
    async def forever(body: bytes, caller: Caller) -> bytes:
        await trio.sleep_forever()
        return b""

    slow = Dispatcher([Module(1, "slow", {1: forever})])
    with trio.move_on_after(0.01) as scope:
        await slow.dispatch(Call(module=1, method=1).SerializeToString())
    assert scope.cancelled_caught


def test_two_modules_with_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="'hello' and 'other' have the same id 0"):
        Dispatcher([HELLO, Module(0, "other")])


@given(st.binary(max_size=64))
def test_any_bytes_get_a_decodable_response(data: bytes) -> None:
    dispatcher = Dispatcher([Module(9, "test", {901: echo})])
    response = Response.FromString(trio.run(dispatcher.dispatch, data))
    assert response.status in {0, 3, 4, 5}
    if response.status == DrpcStatus.FAILED_UNMARSHAL_CALL:
        assert response.sequence == -1
    else:
        assert response.sequence == Call.FromString(data).sequence


@given(st.integers(0, 2**31 - 1), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=200))
def test_the_sequence_is_echoed(method: int, sequence: int, body: bytes) -> None:
    dispatcher = Dispatcher([Module(9, "test", {method: echo})])
    call = Call(module=9, method=method, sequence=sequence, body=body)
    response = Response.FromString(trio.run(dispatcher.dispatch, call.SerializeToString()))
    assert (response.sequence, response.status, response.body) == (sequence, 0, body)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (2, DrpcFailure),
        (3, UnknownModuleError),
        (4, UnknownMethodError),
        (5, MarshalError),
        (6, MarshalError),
        (7, MarshalError),
        (1, DrpcFailure),
        (77, DrpcFailure),
    ],
)
def test_statuses_become_errors(status: int, error: type[DrpcFailure]) -> None:
    made = failure_for(status)
    assert type(made) is error
    assert made.status == status
    assert not isinstance(made, DrpcProtocolError)
