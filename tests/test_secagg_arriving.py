"""Masked updates that are added part by part, side by side: the same sum to the last bit, or none."""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.errors import MessageError, RoundLostError, UnreachableError
from pharmonia.secagg import arriving
from pharmonia.secagg.arriving import Arriving
from pharmonia.secagg.fixedpoint import Values
from pharmonia.secagg.header import Tier
from pharmonia.secagg.messages import MaskedUpdate, encode
from pharmonia.secagg.server import ServerRound
from pharmonia.secagg.wire import frame_parts
from secagg_cases import Consortium, begin, consortium, one_tensor, plan_of, upload

LENGTH = 50
GROUP = consortium(3)


@functools.cache
def updates(length: int = LENGTH, round_index: int = 0) -> dict[str, MaskedUpdate]:
    """One masked update of each partner, whose headers are equal wherever `fresh` opens the round."""
    sessions, server = begin(GROUP, plan_of(one_tensor(length), round_index=round_index))
    values: dict[str, Values] = {name: np.full(length, number, np.float32) for number, name in enumerate(GROUP.ids)}
    return upload(sessions, server.header, values, dict.fromkeys(GROUP.ids, 1))[1]


def fresh(group: Consortium = GROUP, **changes: object) -> ServerRound:
    return begin(group, plan_of(one_tensor(LENGTH), **changes))[1]


def frame_of(partner: str) -> bytes:
    return encode(updates()[partner])


def cut(frame: bytes, n: int) -> Iterator[bytes]:
    return (frame[start : start + n] for start in range(0, len(frame), n))


def whole() -> ServerRound:
    server = fresh()
    for update in updates().values():
        server = server.add(update)
    return server


@given(n=st.integers(1, 400), chunk=st.sampled_from([4, 8, 64, 1 << 20]))
def test_however_the_frames_are_cut_the_sum_is_that_of_whole_updates(n: int, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arriving, "_CHUNK_BYTES", chunk)
        arrivals = Arriving(fresh())
        for name in reversed(GROUP.ids):
            arrivals.add(len(frame_of(name)), cut(frame_of(name), n))
    found, expected = arrivals.round().finish(), whole().finish()
    assert found.values.tobytes() == expected.values.tobytes()
    assert (found.total_weight, found.n_clipped, found.contributors) == (3, 0, GROUP.ids)


def test_updates_that_arrive_side_by_side_are_added_as_if_one_came_after_the_other() -> None:
    arrivals, together = Arriving(fresh()), Barrier(len(GROUP.ids))

    def in_step(frame: bytes) -> Iterator[bytes]:
        for part in cut(frame, 61):
            together.wait(timeout=10.0)
            yield part

    with ThreadPoolExecutor(len(GROUP.ids)) as pool:
        adding = [pool.submit(arrivals.add, len(frame_of(name)), in_step(frame_of(name))) for name in GROUP.ids]
        for one in adding:
            one.result()
    assert arrivals.round().finish().values.tobytes() == whole().finish().values.tobytes()


def test_a_round_in_which_somebody_is_missing_has_no_sum() -> None:
    arrivals = Arriving(fresh())
    for name in GROUP.ids[:2]:
        arrivals.add(len(frame_of(name)), [frame_of(name)])
    assert arrivals.round().missing == GROUP.ids[2:]
    with pytest.raises(RoundLostError):
        arrivals.round().finish()


def changed(**changes: object) -> Callable[[], bytes]:
    return lambda: encode(MaskedUpdate(**{**_fields(updates()[GROUP.ids[0]]), **changes}))  # type: ignore[arg-type]


def _fields(update: MaskedUpdate) -> dict[str, object]:
    return {name: getattr(update, name) for name in ("partner", "round_digest", "words", "seed_digest", "boxes")}


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (changed(partner="stranger"), "expects no update from stranger"),
        (changed(round_digest=bytes(32)), "masked under another header"),
        (lambda: encode(updates(LENGTH + 1)[GROUP.ids[0]]), "masked under another header"),
        (changed(words=np.zeros(LENGTH + 3, np.uint32)), "expected 52 words"),
        (changed(words=np.zeros(LENGTH + 1, np.uint32)), "expected 52 words"),
        (changed(words=np.zeros(LENGTH + 2, np.uint16)), "expected 52 words"),
        (changed(seed_digest=bytes(32)), "boxes"),
        (changed(boxes=(bytes(49),) * 2, seed_digest=bytes(32)), "no field of 98 bytes|no boxes"),
        (lambda: encode(GROUP.sessions[GROUP.ids[0]].commit(0, one_tensor(LENGTH), bytes(32))[1]), "got Ready"),
        (lambda: encode(fresh().header), "got RoundHeader"),
        (lambda: b"PHM1" + bytes(60), "expected a frame of version"),
        (lambda: b"PHS1\x63" + bytes(60), "expected a frame of version"),
        (lambda: b"", "cut short"),
        (lambda: bytes(17), "cut short|expected a frame"),
        (lambda: b"".join(frame_parts(5, [b"x", b"", b"", b"", b"\x03", b"abc"])), "whole words"),
        (lambda: b"".join(frame_parts(5, [b"x" * 65, b"", b"", b"", b"\x04", b"abcd"])), "no field of 65 bytes"),
    ],
)
def test_what_is_no_update_of_this_round_is_refused_before_a_word_is_added(
    frame: Callable[[], bytes], reason: str
) -> None:
    opened = fresh()
    arrivals = Arriving(opened)
    with pytest.raises(MessageError, match=reason):
        arrivals.add(len(frame()), cut(frame(), 7))
    assert not opened.total.words.any()
    with pytest.raises(MessageError, match="is lost"):
        arrivals.round()


@given(place=st.integers(0), bit=st.integers(0, 7), n=st.sampled_from([5, 64, 10_000]))
def test_an_update_that_was_damaged_anywhere_leaves_no_sum(place: int, bit: int, n: int) -> None:
    frame = bytearray(frame_of(GROUP.ids[0]))
    frame[place % len(frame)] ^= 1 << bit
    arrivals = Arriving(fresh())
    with pytest.raises(MessageError):
        arrivals.add(len(frame), cut(bytes(frame), n))
    with pytest.raises(MessageError, match="is lost"):
        arrivals.round()


@given(n=st.integers(1, 285))
def test_an_update_that_is_cut_short_or_too_long_leaves_no_sum(n: int) -> None:
    frame = frame_of(GROUP.ids[0])
    for sent, said in ((frame[:-n], len(frame)), (frame[:-n], len(frame) - n), (frame + bytes(n), len(frame))):
        arrivals = Arriving(fresh())
        with pytest.raises(MessageError):
            arrivals.add(said, cut(sent, 100))
        with pytest.raises(MessageError, match="is lost"):
            arrivals.round()


def test_an_update_that_is_lost_on_the_way_leaves_no_sum_and_says_who_was_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arriving, "_CHUNK_BYTES", 4)

    def breaks_off() -> Iterator[bytes]:
        yield frame_of(GROUP.ids[0])[:200]
        raise UnreachableError("partner-00: no answer")

    opened = fresh()
    arrivals = Arriving(opened)
    with pytest.raises(UnreachableError, match="partner-00"):
        arrivals.add(len(frame_of(GROUP.ids[0])), breaks_off())
    assert opened.total.words.any()
    for use in (arrivals.round, opened.finish, lambda: opened.add(updates()[GROUP.ids[1]])):
        with pytest.raises(MessageError):
            use()


def test_a_second_update_of_a_partner_is_refused_even_while_the_first_is_on_its_way() -> None:
    arrivals = Arriving(fresh())
    name = GROUP.ids[0]

    def interrupted() -> Iterator[bytes]:
        yield frame_of(name)[:200]
        with pytest.raises(MessageError, match="expects no update"):
            arrivals.add(len(frame_of(name)), [frame_of(name)])
        yield frame_of(name)[200:]

    arrivals.add(len(frame_of(name)), interrupted())
    with pytest.raises(MessageError, match="is lost"):
        arrivals.round()


def test_a_sum_is_not_taken_while_an_update_is_on_its_way() -> None:
    arrivals = Arriving(fresh())
    name = GROUP.ids[0]

    def looking() -> Iterator[bytes]:
        yield frame_of(name)[:200]
        with pytest.raises(MessageError, match="is lost"):
            arrivals.round()
        yield frame_of(name)[200:]

    arrivals.add(len(frame_of(name)), looking())
    assert arrivals.round().missing == GROUP.ids[1:]


def test_the_state_from_which_updates_arrive_is_used_up() -> None:
    opened = fresh()
    Arriving(opened)
    with pytest.raises(MessageError, match="has gone on"):
        opened.add(updates()[GROUP.ids[0]])


def test_a_round_that_is_to_outlive_a_lost_partner_takes_whole_updates_only() -> None:
    begun = fresh().add(updates()[GROUP.ids[0]])
    for opened in (fresh(tier=Tier.DROPOUT_TOLERANT), begun):
        with pytest.raises(MessageError, match="whole updates only"):
            Arriving(opened)
