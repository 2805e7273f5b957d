"""Frames: what goes in comes out; every damaged, truncated or malformed frame is refused with our own error."""

import functools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.errors import MessageError, PharmoniaError
from pharmonia.secagg.header import MAX_TENSORS, Layout, Tier
from pharmonia.secagg.messages import (
    KeyOffers,
    Kind,
    MaskedUpdate,
    Message,
    Ready,
    SurvivorSet,
    SurvivorSignature,
    decode,
    encode,
    encode_parts,
)
from pharmonia.secagg.roster import MAX_PARTNERS, KeyOffer
from pharmonia.secagg.wire import MAX_FIELDS, frame_parts, number_of, pack, text_of, unframe, unpack
from secagg_cases import MODEL, after_signing, begin, consortium, one_tensor, plan_of, upload

N_MUTATIONS = 10_000


@functools.cache
def samples() -> dict[Kind, Message]:
    """One message of each kind, from a real round."""
    group = consortium(4)
    plan = plan_of(one_tensor(6), tier=Tier.DROPOUT_TOLERANT)
    first = group.ids[0]
    sessions, server = begin(group, plan)
    update = upload(sessions, server.header, {first: np.ones(6, np.float32)}, {first: 1})[1][first]
    sessions, server, confirmed = after_signing(group, plan)
    survivors = confirmed[first].survivors
    signature = confirmed[first].signatures[0]
    return {
        Kind.KEY_OFFER: group.directory.offers[0],
        Kind.KEY_OFFERS: KeyOffers(offers=group.directory.offers),
        Kind.READY: group.sessions[first].commit(0, plan.layout, MODEL)[1],
        Kind.ROUND_HEADER: server.header,
        Kind.MASKED_UPDATE: update,
        Kind.SURVIVOR_SET: survivors,
        Kind.SURVIVOR_SIGNATURE: _signature(first, survivors, signature),
        Kind.CONFIRMED_SURVIVORS: confirmed[first],
        Kind.REVEAL: sessions[first].reveal(confirmed[first])[1],
    }


def _signature(partner: str, survivors: SurvivorSet, signature: bytes) -> Message:
    return SurvivorSignature(partner=partner, round_digest=survivors.round_digest, signature=signature)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_message_survives_the_wire(kind: Kind) -> None:
    message = samples()[kind]
    frame = encode(message)
    assert frame[4] == kind
    assert b"".join(encode_parts(message)) == frame
    got = decode(frame)
    assert encode(got) == frame
    if isinstance(message, MaskedUpdate):
        assert isinstance(got, MaskedUpdate)
        np.testing.assert_array_equal(got.words, message.words)
        assert not got.words.flags.writeable
    else:
        assert got == message


def mutate(frame: bytes, rng: np.random.Generator) -> bytes:
    """Flip a bit, cut, insert, delete or swap; never the frame itself."""
    data, place = bytearray(frame), int(rng.integers(len(frame)))
    match int(rng.integers(5)):
        case 0:
            data[place] ^= 1 << int(rng.integers(8))
        case 1:
            del data[place:]
        case 2:
            data[place:place] = rng.bytes(int(rng.integers(1, 9)))
        case 3:
            del data[place : place + int(rng.integers(1, 9))]
        case _:
            data[place] = (data[place] + int(rng.integers(1, 256))) % 256
    return bytes(data)


@pytest.mark.parametrize("kind", list(Kind))
def test_no_mutated_frame_is_accepted(kind: Kind) -> None:
    frame, rng = encode(samples()[kind]), np.random.default_rng(kind)
    for _ in range(N_MUTATIONS):
        with pytest.raises(MessageError):
            decode(mutate(frame, rng))


@pytest.mark.parametrize("kind", list(Kind))
def test_malformed_frames_with_a_valid_check_raise_only_our_errors(kind: Kind) -> None:
    """An attacker who recomputes the check gets no further than a refusal, or a message for the protocol to judge."""
    _, fields = unframe(encode(samples()[kind]))
    rng = np.random.default_rng(kind)
    n_refused = 0
    for _ in range(3_000):
        changed = [bytes(field) for field in fields]
        place = int(rng.integers(len(changed)))
        changed[place] = mutate(changed[place] or b"\x00", rng)
        if rng.integers(4) == 0:
            changed.pop(int(rng.integers(len(changed))))
        new_kind = int(kind) if rng.integers(8) else int(rng.integers(12))
        try:
            decode(b"".join(frame_parts(new_kind, changed)))
        except PharmoniaError:
            n_refused += 1
    assert n_refused > 500


@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(data)


def refused(kind: int, fields: list[bytes], message: str) -> None:
    with pytest.raises(MessageError, match=message):
        decode(b"".join(frame_parts(kind, fields)))


def test_fields_that_do_not_belong_there_are_refused() -> None:
    d32, name = bytes(32), b"a"
    refused(77, [], "no kind 77")
    refused(Kind.READY, [name], "a ready frame has 1 fields")
    refused(Kind.READY, [b"\xff", d32, bytes(8), d32, d32], "not UTF-8")
    refused(Kind.READY, [name, d32, bytes(7), d32, d32], "a number takes 8 bytes, got 7")
    refused(Kind.READY, [name, d32, b"\xff" * 8, d32, d32], "there is no round")
    refused(Kind.READY, [name, b"", bytes(8), d32, d32], "a digest has 32 bytes")
    refused(Kind.ROUND_HEADER, [d32], "a header has 11 fields, got 1")
    _, fields = unframe(encode(samples()[Kind.ROUND_HEADER]))
    changed = [bytes(field) for field in fields]
    refused(Kind.ROUND_HEADER, [*changed[:2], (9).to_bytes(8, "little"), *changed[3:]], "there is no tier 9")
    refused(Kind.MASKED_UPDATE, [name, d32, b"", b"", b"\x03", bytes(3)], "whole words")
    refused(Kind.MASKED_UPDATE, [name, d32, b"", b"", b"\x04", bytes(3)], "whole words")
    refused(Kind.MASKED_UPDATE, [name, d32, b"", bytes(5), b"\x04", bytes(4)], "blocks of 49 bytes, got 5")
    refused(Kind.MASKED_UPDATE, [name, d32, b"", bytes(49), b"\x04", bytes(4)], "a digest has 32 bytes, got 0")
    refused(Kind.SURVIVOR_SET, [d32, pack([b"b", b"a"])], "sorted and distinct")
    refused(Kind.SURVIVOR_SET, [d32, b""], "sorted and distinct")
    refused(Kind.SURVIVOR_SIGNATURE, [name, d32, b""], "a signature has 64 bytes")
    refused(Kind.CONFIRMED_SURVIVORS, [d32, pack([b"a"]), pack([b"a"]), b"", b""], "one signature for each")
    refused(Kind.KEY_OFFER, [name, b"", bytes(64)], "a key offer holds 32 and 64 bytes")
    with pytest.raises(MessageError, match="a box has 49 bytes"):
        MaskedUpdate(partner="a", round_digest=d32, words=np.zeros(1, "<u4"), seed_digest=d32, boxes=(b"",))


def many_parts(kind: Kind, n_bytes: int) -> bytes:
    """A frame with a valid check whose fields, or a list in one of them, are as many and as small as they can be."""
    d32 = bytes(32)
    fields: list[bytes]
    match kind:
        case Kind.ROUND_HEADER:
            fields = [d32, *([bytes(8)] * 6), bytes(n_bytes), d32, d32, b""]
        case Kind.SURVIVOR_SET:
            fields = [d32, bytes(n_bytes)]
        case Kind.CONFIRMED_SURVIVORS:
            fields = [d32, pack([b"a"]), pack([b"a"]), bytes(n_bytes // 64 * 64), b""]
        case Kind.MASKED_UPDATE:
            fields = [b"a", d32, d32, bytes(n_bytes // 49 * 49), b"\x04", bytes(4)]
        case Kind.REVEAL:
            fields = [b"a", d32, bytes(n_bytes // 33 * 33), b""]
        case Kind.KEY_OFFERS:
            fields = [bytes(n_bytes)]
        case _:
            fields = [b""] * (n_bytes // 8)
    return b"".join(frame_parts(kind, fields))


@pytest.mark.parametrize("kind", list(Kind))
def test_a_frame_of_many_small_parts_is_refused_before_any_is_made(kind: Kind) -> None:
    frame = many_parts(kind, 1 << 20)
    tracemalloc.start()
    with pytest.raises(MessageError, match=r"more than 255|at most 65536"):
        decode(frame)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(frame)  # a copy at most; 23 times before


def test_a_message_may_have_a_field_for_every_partner_that_there_can_be() -> None:
    assert MAX_FIELDS == MAX_PARTNERS
    offer = samples()[Kind.KEY_OFFER]
    assert isinstance(offer, KeyOffer)
    offers = KeyOffers(offers=tuple(replace(offer, partner=f"p{number:03}") for number in range(MAX_PARTNERS)))
    assert decode(encode(offers)) == offers
    survivors = SurvivorSet(round_digest=bytes(32), survivors=tuple(one.partner for one in offers.offers))
    assert decode(encode(survivors)) == survivors


def test_a_vector_of_more_tensors_than_a_header_has_scales_for_is_refused_at_home() -> None:
    names = tuple(map(str, range(MAX_TENSORS + 1)))
    assert Layout(names=names[1:], lengths=(1,) * MAX_TENSORS).length == MAX_TENSORS
    with pytest.raises(MessageError, match="at most 65536 tensors"):
        Layout(names=names, lengths=(1,) * len(names))


@given(fields=st.lists(st.binary(max_size=20), max_size=6))
def test_packing_is_unambiguous(fields: list[bytes]) -> None:
    assert [bytes(field) for field in unpack(pack(fields))] == fields


def test_fields_cut_short_are_refused() -> None:
    with pytest.raises(MessageError, match="a field of 3 bytes is cut short"):
        unpack(pack([b"abc"])[:-1])
    with pytest.raises(MessageError, match="a number takes 8 bytes"):
        number_of(b"")
    assert text_of(b"x") == "x"


def test_types_keep_their_fields() -> None:
    ready = samples()[Kind.READY]
    assert isinstance(ready, Ready)
    assert decode(encode(replace(ready, round_index=9))) == replace(ready, round_index=9)
    assert isinstance(decode(encode(samples()[Kind.KEY_OFFER])), KeyOffer)
