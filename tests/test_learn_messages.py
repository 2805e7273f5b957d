"""Frames: what goes in comes out, and anything else is refused with the right error."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.errors import MessageError, PharmoniaError, UpdateError
from pharmonia.base.frames import CHECK_BYTES
from pharmonia.learn.contributions import Contribution
from pharmonia.learn.messages import (
    Broadcast,
    Done,
    Finish,
    Message,
    Repeat,
    SessionRequest,
    StatisticsRequest,
    decode,
    encode,
    is_learning_frame,
    vector_digest,
)


def checked(body: bytes) -> bytes:
    """A frame's body with the check that belongs to it, so that what is wrong with the body is found."""
    return body + hashlib.blake2b(body, digest_size=CHECK_BYTES).digest()


finite = st.floats(-1e6, 1e6, width=32)


def broadcast(values: list[float], *, round_index: int = 1, train: bool = True, save: bool = False) -> Broadcast:
    return Broadcast(
        sum_index=9,
        magnitudes=False,
        round_index=round_index,
        step=1,
        n_steps=3,
        train=train,
        save=save,
        best_round=-1,
        parameters=np.array(values, dtype=np.float64),
    )


WITHOUT_VECTOR: list[Message] = [
    SessionRequest(session=bytes(range(32))),
    StatisticsRequest(sum_index=0, magnitudes=True),
    Repeat(sum_index=3, magnitudes=True),
    Finish(best_round=-1),
    Done(),
]


@given(values=st.lists(finite, max_size=20), round_index=st.integers(0, 10**6), train=st.booleans(), save=st.booleans())
def test_a_broadcast_survives_the_wire(values: list[float], round_index: int, train: bool, save: bool) -> None:
    sent = broadcast(values, round_index=round_index, train=train, save=save)
    got = decode(encode(sent))
    assert isinstance(got, Broadcast)
    assert (got.round_index, got.step, got.n_steps, got.sum_index) == (round_index, 1, 3, 9)
    assert (got.train, got.save, got.best_round) == (train, save, -1)
    np.testing.assert_array_equal(got.parameters, sent.parameters)


@given(values=st.lists(finite, min_size=1, max_size=20), weight=st.integers(1, 2**24))
def test_a_contribution_survives_the_wire(values: list[float], weight: int) -> None:
    got = decode(encode(Contribution(weight=weight, values=np.array(values, dtype=np.float32))))
    assert isinstance(got, Contribution)
    assert got.weight == weight
    np.testing.assert_array_equal(got.values, np.array(values, dtype=np.float32))


@pytest.mark.parametrize("message", WITHOUT_VECTOR, ids=lambda message: type(message).__name__)
def test_messages_without_vectors_survive_the_wire(message: Message) -> None:
    assert decode(encode(message)) == message
    assert is_learning_frame(encode(message))
    with pytest.raises(MessageError, match="no payload"):
        decode(checked(encode(message)[:-CHECK_BYTES] + bytes(4)))


def test_the_bytes_of_a_broadcast_are_fixed() -> None:
    frame = encode(broadcast([1.0, -2.0]))
    header = b'{"best_round":-1,"magnitudes":false,"n_steps":3,"round":1,"save":false,"step":1,"sum":9,"train":true}'
    body = b"PHM1\x03" + len(header).to_bytes(4, "little") + header + bytes.fromhex("0000803f000000c0")
    assert frame == body + hashlib.blake2b(body, digest_size=16).digest()


@given(cut=st.integers(0, 133))
def test_a_truncated_frame_is_refused(cut: int) -> None:
    frame = encode(broadcast([1.0, 2.0]))
    assert len(frame) == 134
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
        b'PHM1\x02\x1e\x00\x00\x00{"magnitudes":true,"sum":"a"}  ',
        b'PHM1\x01\x12\x00\x00\x00{"session":"0011"}',
        b'PHM1\x06\x0e\x00\x00\x00{"weight":1.5}',
    ],
)
def test_a_malformed_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(MessageError):
        decode(checked(frame))


MUTATED: list[Message] = [
    *WITHOUT_VECTOR,
    broadcast([1.0, 2.0]),
    Contribution(weight=7, values=np.ones(3, dtype=np.float32)),
]


@pytest.mark.parametrize("message", MUTATED, ids=lambda message: type(message).__name__)
def test_10_000_mutations_of_a_frame_are_all_refused(message: Message) -> None:
    rng = np.random.default_rng(5)
    frame = np.frombuffer(encode(message), dtype=np.uint8)
    for _ in range(10_000):
        mutated = frame.copy()
        places = rng.integers(frame.size, size=rng.integers(1, 4))
        mutated[places] ^= rng.integers(1, 256, dtype=np.uint8)
        damaged = mutated[: rng.integers(frame.size)] if rng.random() < 0.3 else mutated
        if damaged.tobytes() == frame.tobytes():
            continue  # one place drawn twice
        with pytest.raises(PharmoniaError):
            decode(damaged.tobytes())


def test_values_that_cannot_be_used_are_refused() -> None:
    frame = encode(Contribution(weight=1, values=np.zeros(1, dtype=np.float32)))
    with pytest.raises(UpdateError, match="diverged"):
        decode(checked(frame[: -CHECK_BYTES - 4] + np.array([np.nan], dtype="<f4").tobytes()))
    with pytest.raises(MessageError, match="no step 3 of 3"):
        Broadcast(
            sum_index=0,
            magnitudes=False,
            round_index=0,
            step=3,
            n_steps=3,
            train=True,
            save=False,
            best_round=-1,
            parameters=np.zeros(1),
        )


def test_the_digest_of_a_vector_is_of_its_bytes() -> None:
    assert vector_digest(np.zeros(0)).startswith("e3b0c44298fc1c14")
    assert vector_digest(np.array([1.0])) != vector_digest(np.array([-1.0]))
