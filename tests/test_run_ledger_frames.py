"""Frames that carry the ledger survive the wire as they are, and nothing else is read as one."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance_cases import NOW, key_of
from pharmonia.base.errors import MessageError
from pharmonia.base.frames import CHECK_BYTES
from pharmonia.governance.checkpoint import Checkpoint, SignedCheckpoint, sign_checkpoint
from pharmonia.run.ledger_frames import (
    CopyState,
    Cosign,
    Cosigned,
    Hello,
    Keep,
    Message,
    Open,
    Opening,
    Take,
    Where,
    decode,
    encode,
    is_ledger_frame,
)
from remote_ledger_cases import COORDINATOR, GREETING, LEDGER, entry


def checkpoint() -> SignedCheckpoint:
    state = Checkpoint(ledger=LEDGER, size=2, root="cd" * 32, at=NOW, previous=None)
    return sign_checkpoint(state, key_of(COORDINATOR)).signed_also_by(key_of("acme"))


MESSAGES: list[Message] = [
    Hello(),
    GREETING,
    Where(),
    CopyState(size=0, root=None, n_checkpoints=0),
    CopyState(size=7, root="cd" * 32, n_checkpoints=2),
    Take(start=3, entries=(entry(0), entry(1))),
    Cosign(signed=checkpoint()),
    Cosigned(signed=checkpoint()),
    Keep(signed=checkpoint()),
    Open(),
    Opening(entry=None),
    Opening(entry=entry(0, "acme")),
]


def checked(body: bytes) -> bytes:
    """A frame's body with the check that belongs to it, so that what is wrong with the body is found."""
    return body + hashlib.blake2b(body, digest_size=CHECK_BYTES).digest()


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert is_ledger_frame(encode(message))
    assert decode(encode(message)) == message


def test_the_bytes_of_frames_stay_as_they_are() -> None:
    assert encode(Hello()) == checked(b"PHL1\x01\x02\x00\x00\x00{}")
    state = b'{"checkpoints":2,"root":"' + b"cd" * 32 + b'","size":7}'
    assert encode(CopyState(size=7, root="cd" * 32, n_checkpoints=2)) == checked(
        b"PHL1\x04" + len(state).to_bytes(4, "little") + state
    )
    taken = encode(Take(start=3, entries=(entry(0), entry(1))))
    lines = entry(0).to_line() + b"\n" + entry(1).to_line()
    assert taken == checked(b"PHL1\x05" + (11).to_bytes(4, "little") + b'{"start":3}' + lines)


@given(st.binary(max_size=200))
def test_bytes_that_nobody_sent_are_refused(noise: bytes) -> None:
    for frame in (noise, b"PHL1" + noise, checked(b"PHL1" + noise)):
        try:
            message = decode(frame)
        except MessageError:
            continue
        assert encode(message) == frame


@settings(max_examples=300)
@given(which=st.integers(0, len(MESSAGES) - 1), place=st.integers(0, 10**6), bit=st.integers(0, 7), mend=st.booleans())
def test_a_changed_bit_is_seen_or_is_another_message(which: int, place: int, bit: int, mend: bool) -> None:
    """With the check made anew too, as who writes frames can: what is read is then what the bytes say, no more."""
    body = bytearray(encode(MESSAGES[which]))
    if mend:
        del body[-CHECK_BYTES:]
    body[place % len(body)] ^= 1 << bit
    frame = checked(bytes(body)) if mend else bytes(body)
    try:
        message = decode(frame)
    except MessageError:
        return
    assert mend
    assert encode(message) == frame
    assert message != MESSAGES[which]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_truncated_or_lengthened_frame_is_refused(message: Message) -> None:
    frame = encode(message)
    for size in range(0, len(frame), 5):
        with pytest.raises(MessageError):
            decode(frame[:size])
    for longer in (frame + b"\0", checked(frame[:-CHECK_BYTES] + b"\n")):
        with pytest.raises(MessageError):
            decode(longer)


def test_what_no_frame_holds_is_refused() -> None:
    for build in (
        lambda: CopyState(size=1, root=None, n_checkpoints=0),
        lambda: CopyState(size=0, root="cd" * 32, n_checkpoints=0),
        lambda: CopyState(size=1, root="root", n_checkpoints=0),
        lambda: CopyState(size=-1, root=None, n_checkpoints=0),
        lambda: Take(start=0, entries=()),
        lambda: replace(GREETING, partner="Acme"),
        lambda: replace(GREETING, agreement_version=-1),
        lambda: replace(GREETING, at=datetime(2026, 1, 1, 0, 0, 0, 5, tzinfo=UTC)),
    ):
        with pytest.raises(MessageError):
            build()
