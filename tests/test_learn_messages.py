"""Frames: what goes in comes out, and anything else is refused with the right error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.errors import MessageError, UpdateError
from pharmonia.learn.messages import (
    Broadcast,
    Reply,
    Statistics,
    StatisticsRequest,
    Update,
    ValidationScore,
    decode,
    encode,
    vector_digest,
)

finite = st.floats(-1e6, 1e6, width=32)
SCORE = ValidationScore(n_rows=3, squared_error=1.5)


def reply_with(delta: list[float], round_index: int = 2) -> Reply:
    update = Update(round_index=round_index, n_examples=5, loss=0.25, delta=np.array(delta))
    return Reply(round_index=round_index, score=SCORE, update=update)


@given(values=st.lists(finite, max_size=20), round_index=st.integers(0, 10**6), train=st.booleans(), save=st.booleans())
def test_a_broadcast_survives_the_wire(values: list[float], round_index: int, train: bool, save: bool) -> None:
    sent = Broadcast(round_index=round_index, train=train, save=save, parameters=np.array(values, dtype=np.float64))
    got = decode(encode(sent))
    assert isinstance(got, Broadcast)
    assert (got.round_index, got.train, got.save) == (round_index, train, save)
    np.testing.assert_array_equal(got.parameters, sent.parameters)


@given(values=st.lists(finite, min_size=1, max_size=20))
def test_a_reply_survives_the_wire(values: list[float]) -> None:
    got = decode(encode(reply_with(values)))
    assert isinstance(got, Reply)
    assert got.score == SCORE
    assert got.update is not None
    assert (got.update.round_index, got.update.n_examples, got.update.loss) == (2, 5, 0.25)
    np.testing.assert_array_equal(got.update.delta, values)


def test_messages_without_vectors_survive_the_wire() -> None:
    assert decode(encode(StatisticsRequest())) == StatisticsRequest()
    assert decode(encode(Statistics(n_train=7, value_sum=-1.25))) == Statistics(n_train=7, value_sum=-1.25)
    got = decode(encode(Reply(round_index=4, score=SCORE, update=None)))
    assert isinstance(got, Reply)
    assert (got.round_index, got.score, got.update) == (4, SCORE, None)


def test_the_bytes_of_a_broadcast_are_fixed() -> None:
    frame = encode(Broadcast(round_index=1, train=True, save=False, parameters=np.array([1.0, -2.0])))
    header = b'{"round":1,"save":false,"train":true}'
    assert frame == b"PHM1\x03" + len(header).to_bytes(4, "little") + header + bytes.fromhex("0000803f000000c0")


@given(cut=st.integers(0, 56))
def test_a_truncated_frame_is_refused(cut: int) -> None:
    frame = encode(Broadcast(round_index=1, train=True, save=False, parameters=np.array([1.0, 2.0])))
    assert len(frame) == 54
    if cut >= len(frame) or (cut >= 46 and (len(frame) - cut) % 4 == 0):
        return  # whole, or shorter by whole numbers, which the length check of the model catches
    with pytest.raises(MessageError):
        decode(frame[:cut])


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"PHM2\x03" + bytes(4),
        b"PHM1\x09" + bytes(4),
        b"PHM1\x03\xff\xff\xff\xff" + bytes(64),
        b"PHM1\x03\x02\x00\x00\x00{}",
        b"PHM1\x03\x02\x00\x00\x00[]",
        b"PHM1\x03\x02\x00\x00\x00{x",
        b'PHM1\x02\x0d\x00\x00\x00{"n_train":"a"}'[:-2] + b"",
        b"PHM1\x04\x0b\x00\x00\x00" + b'{"round":1}',
    ],
)
def test_a_malformed_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(MessageError):
        decode(frame)


def test_values_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(UpdateError, match="diverged"):
        reply_with([float("nan")])
    with pytest.raises(UpdateError, match="n_examples"):
        Update(round_index=0, n_examples=0, loss=0.0, delta=np.zeros(1))
    with pytest.raises(UpdateError):
        Statistics(n_train=0, value_sum=0.0)
    with pytest.raises(UpdateError):
        ValidationScore(n_rows=1, squared_error=float("inf"))


def test_the_digest_of_a_vector_is_of_its_bytes() -> None:
    assert vector_digest(np.zeros(0)).startswith("e3b0c44298fc1c14")
    assert vector_digest(np.array([1.0])) != vector_digest(np.array([-1.0]))
