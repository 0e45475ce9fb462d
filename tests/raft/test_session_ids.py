"""Client ids and call ids of our own making."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioraft.raft.session_ids import (
    MAX_BIRTH,
    MAX_CALL_NUMBER,
    MAX_OUTSTANDING,
    birth_of,
    call_id_of,
    client_id_of,
    split_call_id,
)


@given(st.integers(0, MAX_BIRTH), st.integers(0, 2**62 - 1))
def test_a_client_id_is_a_uuid_that_holds_its_birth(birth: int, nonce: int) -> None:
    client_id = client_id_of(birth, nonce)
    number = uuid.UUID(bytes=client_id)
    assert number.version == 8
    assert number.variant == uuid.RFC_4122
    assert birth_of(client_id) == birth
    assert client_id_of(birth, nonce ^ 1) != client_id


@given(st.uuids(version=4))
def test_random_uuids_are_not_ours(client: uuid.UUID) -> None:
    assert birth_of(client.bytes) is None


@given(st.integers(1, MAX_CALL_NUMBER), st.integers(0, MAX_OUTSTANDING - 1))
def test_call_ids_round_trip_in_63_bits(number: int, gap: int) -> None:
    call_id = call_id_of(number, number - gap)
    assert split_call_id(call_id) == (number, number - gap)
    assert call_id < 2**63


def test_bounds_are_checked() -> None:
    for number, lowest in ((MAX_OUTSTANDING + 1, 1), (1, 2), (0, 0), (MAX_CALL_NUMBER + 1,) * 2):
        with pytest.raises(ValueError, match="apart"):
            call_id_of(number, lowest)
    for birth in (-1, MAX_BIRTH + 1):
        with pytest.raises(ValueError, match="birth"):
            client_id_of(birth, 0)
    assert birth_of(b"short") is None
