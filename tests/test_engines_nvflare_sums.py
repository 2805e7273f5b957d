"""Sums of answers that arrive one by one, in any order."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.errors import MessageError
from pharmonia.learn.messages import Done, encode, vector_digest
from pharmonia.run.engine import Exchange, OnReply, exchange, exchange_each
from pharmonia.run.sums import SecureSums
from pharmonia.run.tensors import digest_of
from pharmonia.run.transcript import Recorder, begin_recording, read_transcript
from test_run_secure import REQUEST, Tampering, consortium, members


class Reversed(Tampering):
    """Answers arrive last partner first."""

    def carry(self, frames: Mapping[str, bytes], on_reply: OnReply) -> Exchange:
        return super().carry(dict(reversed(list(frames.items()))), on_reply)


def test_a_secure_mean_does_not_depend_on_who_answers_first(tmp_path: Path) -> None:
    engine, sums = consortium(tmp_path)
    sums.start()
    mean = sums.collect(REQUEST).mean
    late = SecureSums(Reversed(engine.vaults), members(engine), n_colluders=1, ring_degree=4)
    late.start()
    np.testing.assert_array_equal(late.collect(REQUEST).mean, mean)


def test_collected_answers_are_in_the_order_of_partners_whoever_answers_first(tmp_path: Path) -> None:
    engine, _ = consortium(tmp_path)

    for name, vault in engine.vaults.items():
        vault.handle = lambda frame, name=name: name.encode() + frame  # type: ignore[misc, method-assign]
    assert exchange(Reversed(engine.vaults), b"!").replies == (b"Ada!", b"Ben!", b"Cleo!", b"Dan!")


def test_an_answer_of_another_kind_ends_the_sum(tmp_path: Path) -> None:
    engine, sums = consortium(tmp_path)
    sums.start()
    dan = engine.vaults["Dan"]
    honest = dan.handle
    said: list[bytes] = []

    def ready_twice(frame: bytes) -> bytes:
        said.append(honest(frame))
        return said[0]

    dan.handle = ready_twice  # type: ignore[method-assign]
    with pytest.raises(MessageError, match="expected a MaskedUpdate frame, got Ready"):
        sums.collect(REQUEST)


def test_what_was_handed_on_stands_in_the_transcript_under_its_partner(tmp_path: Path) -> None:
    engine, _ = consortium(tmp_path)
    for name, vault in engine.vaults.items():
        vault.handle = lambda _, name=name: name.encode() + encode(Done())  # type: ignore[misc, method-assign]
    seen: list[str] = []
    begin_recording(tmp_path / "run", tmp_path / "t", engine.partners)
    exchange_each(Recorder(Reversed(engine.vaults), tmp_path / "t"), b"?", lambda name, _: seen.append(name))
    assert seen == ["Dan", "Cleo", "Ben", "Ada"]
    (exchange,) = read_transcript(tmp_path / "t").exchanges()
    assert [reply[:3] for reply in exchange.replies] == [b"Ada", b"Ben", b"Cle", b"Dan"]


@given(n=st.integers(0, 9), scale=st.floats(-1e6, 1e6))
def test_a_digest_made_in_pieces_is_the_digest_of_the_wire_s_values(n: int, scale: float) -> None:
    vector = np.linspace(-scale, scale, n * 20_000)
    assert digest_of(vector).hex() == vector_digest(vector.astype("<f4").astype("<f8"))
