"""Attacks and mistakes: each is refused with the right error, and the session goes on from where it was."""

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pharmonia.secagg
from pharmonia.base.errors import (
    ConsortiumError,
    EvidenceError,
    HeaderError,
    MessageError,
    ReplayError,
    SurvivorsError,
    UpdateError,
)
from pharmonia.secagg.fixedpoint import Values, encode_onto
from pharmonia.secagg.header import Layout, RoundHeader, Tier
from pharmonia.secagg.messages import MaskedUpdate, SurvivorSet
from pharmonia.secagg.partner import KEPT_RECORDS, PartnerSession, open_session
from pharmonia.secagg.records import MaskRecord
from pharmonia.secagg.server import open_round
from secagg_cases import (
    FIRST,
    FOUR,
    GROUP,
    MODEL,
    ONES,
    PLAN,
    PLAN_B,
    VALUES,
    Consortium,
    X,
    after_upload_b,
    begin,
    plan_of,
    tier_a,
    upload,
)


def header_of(group: Consortium = GROUP) -> RoundHeader:
    return begin(group, PLAN)[1].header


def committed() -> PartnerSession:
    return GROUP.sessions[FIRST].commit(0, FOUR, MODEL)[0]


# Headers


def broken(**changes: object) -> RoundHeader:
    return replace(header_of(), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (broken(contributors=GROUP.ids[:2], degree=1), "2 contributors cannot hide us; the agreement asks 3"),
        (broken(contributors=(*GROUP.ids, "stranger"), degree=5), "foreign partners"),
        (broken(contributors=GROUP.ids[1:], degree=3), "without us"),
        (broken(session=bytes(32)), "another session"),
        (broken(degree=2), "have 4 neighbours each, not 2"),
        (broken(round_index=1), "not the round or model of our READY"),
        (broken(model_digest=bytes(32)), "not the round or model of our READY"),
        (broken(layout_digest=bytes(32)), "another layout"),
        (broken(length=5), "another layout"),
        (broken(exponents=(1, 2)), "another layout"),
    ],
)
def test_a_header_that_breaks_the_terms_gets_nothing(header: RoundHeader, message: str) -> None:
    with pytest.raises(HeaderError, match=message):
        committed().prepare_mask(header)


def test_too_few_contributors_are_refused() -> None:
    with pytest.raises(ConsortiumError, match="cannot hide us"):
        committed().prepare_mask(broken(contributors=GROUP.ids[:2], degree=1))
    sessions, _ = after_upload_b(GROUP, PLAN_B)
    header = begin(GROUP, PLAN_B)[1].header
    few = SurvivorSet(round_digest=header.digest, survivors=GROUP.ids[:3])
    with pytest.raises(SurvivorsError, match="3 of 5 partners survive; 4 are needed"):
        sessions[FIRST].sign_survivors(few)


def test_a_header_without_ready_gets_nothing() -> None:
    with pytest.raises(MessageError, match="partner-00 is Idle, not Committed"):
        GROUP.sessions[FIRST].prepare_mask(header_of())


@pytest.mark.parametrize(
    "changes",
    [
        {"contributors": ("a",)},
        {"contributors": ("b", "a")},
        {"round_index": -1},
        {"length": 0},
        {"session": b""},
        {"degree": 0},
        {"degree": 3},
        {"word_bytes": 3},
        {"word_bytes": 2},
        {"exponents": ()},
        {"exponents": (101,)},
        {"weight_bits": 25},
    ],
)
def test_headers_that_no_server_sends_do_not_exist(changes: dict[str, object]) -> None:
    with pytest.raises(MessageError):
        broken(**changes)


@pytest.mark.parametrize(("names", "lengths"), [((), ()), (("a",), (1, 2)), (("a", "a"), (1, 1)), (("a",), (0,))])
def test_layouts_that_hold_nothing_do_not_exist(names: tuple[str, ...], lengths: tuple[int, ...]) -> None:
    with pytest.raises(MessageError):
        Layout(names=names, lengths=lengths)


# Replays


def test_no_two_updates_under_one_header() -> None:
    session, header = committed(), header_of()
    mask, second_mask = session.prepare_mask(header), session.prepare_mask(header)
    out = session.masked_update(mask, X, 1)
    assert out.session.last_round == 0
    with pytest.raises(ReplayError, match="round 0 was masked before"):
        out.session.masked_update(second_mask, X * 2, 1)
    with pytest.raises(ReplayError, match="round 0 was masked before"):
        out.session.prepare_mask(header)
    with pytest.raises(ReplayError, match="round 0 comes after 0"):
        out.session.commit(0, FOUR, MODEL)


def test_a_restarted_partner_remembers_what_it_masked() -> None:
    session = committed()
    out = session.masked_update(session.prepare_mask(header_of()), X, 1)
    kept = MaskRecord.from_bytes(out.record.to_bytes())
    assert kept == out.record
    arguments = {"partner": FIRST, "identity": GROUP.identities[FIRST], "key": GROUP.keys[FIRST]}
    again = open_session(**arguments, directory=GROUP.directory, records=(kept,))  # type: ignore[arg-type]
    with pytest.raises(ReplayError, match="round 0 comes after 0"):
        again.commit(0, FOUR, MODEL)
    foreign = replace(kept, session=bytes(32))
    with pytest.raises(ReplayError, match="another session"):
        open_session(**arguments, directory=GROUP.directory, records=(foreign,))  # type: ignore[arg-type]


def test_mask_records_are_checked() -> None:
    with pytest.raises(MessageError, match="digests of 32 bytes"):
        MaskRecord(session=b"", round_index=0, update_digest=b"", contributors_digest=bytes(32))
    with pytest.raises(MessageError, match="4 fields"):
        MaskRecord.from_bytes(b"")


def test_a_mask_sum_is_used_once() -> None:
    session = committed()
    mask = session.prepare_mask(header_of())
    session.masked_update(mask, X, 1)
    with pytest.raises(MessageError, match="this mask has been used"):
        session.masked_update(mask, X, 1)


def test_no_update_under_two_rosters() -> None:
    """The server claims that a partner was lost and asks the rest for the same update once more."""
    sessions, server = begin(GROUP, PLAN)
    sessions, _ = upload(sessions, server.header, VALUES, ONES)
    left = GROUP.ids[:4]
    readies = [sessions[name].commit(1, FOUR, MODEL) for name in left]
    retry = open_round(GROUP.directory, plan_of(FOUR, round_index=1), [ready for _, ready in readies])
    session = readies[0][0]
    with pytest.raises(ReplayError, match="this update was masked among other contributors"):
        session.masked_update(session.prepare_mask(retry.header), VALUES[FIRST], 1)
    rescaled = replace(retry.header, exponents=(13,), weight_bits=4)
    with pytest.raises(ReplayError, match="this update was masked among other contributors"):
        session.masked_update(session.prepare_mask(rescaled), VALUES[FIRST], 1)
    new_step = session.masked_update(session.prepare_mask(retry.header), X * 7, 1)
    assert new_step.session.last_round == 1


def test_an_empty_update_may_be_masked_again() -> None:
    nothing = np.zeros(4, dtype=np.float32)
    sessions, server = begin(GROUP, PLAN)
    sessions, _ = upload(sessions, server.header, {FIRST: nothing}, ONES)
    readies = [sessions[name].commit(1, FOUR, MODEL) for name in GROUP.ids[:4]]
    retry = open_round(GROUP.directory, plan_of(FOUR, round_index=1), [ready for _, ready in readies])
    session = readies[0][0]
    assert session.masked_update(session.prepare_mask(retry.header), nothing, 1).record.update_digest == b""


def test_records_are_kept_for_a_while_only() -> None:
    session, server = committed(), None
    for index in range(KEPT_RECORDS + 3):
        plan = plan_of(FOUR, round_index=index)
        sessions, server = begin(replace_sessions(session), plan)
        session = sessions[FIRST]
        session = session.masked_update(session.prepare_mask(server.header), X * index, 1).session
    assert len(session.records) == KEPT_RECORDS
    assert session.last_round == KEPT_RECORDS + 2


def replace_sessions(session: PartnerSession) -> Consortium:
    return replace(GROUP, sessions={**GROUP.sessions, FIRST: session})


# Equivocation and misdirected messages


def test_equivocated_contributors_give_noise_and_are_refused() -> None:
    """One partner is told another U: the server cannot add what it sends, and nothing cancels if it does by force."""
    sessions, server = begin(GROUP, PLAN)
    lie = replace(server.header, contributors=GROUP.ids[:4], degree=3)
    out = sessions[FIRST].masked_update(sessions[FIRST].prepare_mask(lie), X, 1)
    with pytest.raises(MessageError, match="partner-00 masked under another header"):
        server.add(out.message)
    _, messages = upload(sessions, server.header, {n: VALUES[n] for n in GROUP.ids[1:]}, ONES)
    server = server.add(replace(out.message, round_digest=server.header.digest))
    for message in messages.values():
        server = server.add(message)
    with pytest.raises(UpdateError, match="the masks did not cancel"):
        server.finish()


def test_a_second_header_of_a_round_gets_nothing() -> None:
    session = committed()
    out = session.masked_update(session.prepare_mask(header_of()), X, 1)
    lie = replace(header_of(), contributors=GROUP.ids[:4], degree=3)
    with pytest.raises(ReplayError, match="round 0 was masked before"):
        out.session.prepare_mask(lie)


def test_another_tier_than_the_rest_gives_noise() -> None:
    """Told tier A while the others are told tier B, then named as lost: the others' round keys open nothing."""
    header_a = header_of()
    header_b = replace(header_a, tier=Tier.DROPOUT_TOLERANT)
    assert header_a.digest != header_b.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: replace(m, partner="stranger"), "expects no update from stranger"),
        (lambda m: replace(m, words=m.words[:-1]), "expected 6 words"),
        (lambda m: replace(m, words=m.words.astype("<u2")), "expected 6 words"),
        (lambda m: replace(m, boxes=(bytes(49),), seed_digest=bytes(32)), "expected 0 boxes, got 1"),
    ],
)
def test_misdirected_updates_are_refused(change: Callable[[MaskedUpdate], MaskedUpdate], message: str) -> None:
    sessions, server = begin(GROUP, PLAN)
    _, messages = upload(sessions, server.header, {FIRST: X}, ONES)
    with pytest.raises(MessageError, match=message):
        server.add(change(messages[FIRST]))
    server = server.add(messages[FIRST])
    with pytest.raises(MessageError, match="expects no update from partner-00"):
        server.add(messages[FIRST])


def test_misdirected_readies_are_refused() -> None:
    ready = GROUP.sessions[FIRST].commit(0, FOUR, MODEL)[1]
    with pytest.raises(MessageError, match="ready for something else"):
        open_round(GROUP.directory, PLAN, [replace(ready, round_index=3)])
    with pytest.raises(MessageError, match="one READY from each partner"):
        open_round(GROUP.directory, PLAN, [ready, ready])
    with pytest.raises(MessageError, match="one READY from each partner"):
        open_round(GROUP.directory, PLAN, [replace(ready, partner="stranger")])
    readies = [GROUP.sessions[name].commit(0, FOUR, MODEL)[1] for name in GROUP.ids]
    with pytest.raises(MessageError, match="1 tensors need a scale each, got 2"):
        open_round(GROUP.directory, plan_of(FOUR, exponents=(1, 2)), readies)


def test_rounds_of_counts_and_of_values_are_not_confused() -> None:
    counts = plan_of(FOUR, exponents=(), weight_bits=0)
    sessions, server = begin(GROUP, counts)
    with pytest.raises(MessageError, match="sums counts, not values"):
        sessions[FIRST].masked_update(sessions[FIRST].prepare_mask(server.header), X, 1)
    with pytest.raises(MessageError, match="sums counts, not values"):
        server.finish()
    sessions, server = begin(GROUP, PLAN)
    with pytest.raises(MessageError, match="sums values, not counts"):
        sessions[FIRST].masked_counts(sessions[FIRST].prepare_mask(server.header), np.ones(4, dtype=bool))
    with pytest.raises(MessageError, match="sums values, not counts"):
        server.finish_counts()


# Bad updates


@pytest.mark.parametrize(
    ("values", "weight", "message"),
    [
        (np.array([1, np.nan, 0, 0], dtype=np.float32), 1, "element 1 is nan"),
        (np.array([1, 0, 0, -np.inf]), 1, "element 3 is -inf"),
        (np.zeros(3, dtype=np.float32), 1, "expected 4 floats"),
        (np.zeros((2, 2), dtype=np.float32), 1, "expected 4 floats"),
        (np.zeros(4, dtype=np.int64), 1, "expected 4 floats"),
        (X, 0, "a weight must be 1 to 65536"),
        (X, 65537, "a weight must be 1 to 65536"),
    ],
)
def test_updates_that_cannot_be_summed_are_refused_and_the_session_goes_on(
    values: Values, weight: int, message: str
) -> None:
    session, header = committed(), header_of()
    with pytest.raises(UpdateError, match=message):
        session.masked_update(session.prepare_mask(header), values, weight)
    assert session.masked_update(session.prepare_mask(header), X, 1).session.last_round == 0


def test_a_layout_that_differs_from_the_header_is_not_encoded() -> None:
    header = header_of()
    words = np.zeros(header.n_words, dtype=header.dtype)
    with pytest.raises(UpdateError, match="not the one in the header"):
        encode_onto(words, X, Layout(names=("other",), lengths=(4,)), header, 1)
    assert not words.any()


def test_bitmaps_of_another_shape_are_refused() -> None:
    sessions, server = begin(GROUP, plan_of(FOUR, exponents=(), weight_bits=0))
    for wrong in (np.ones(3, dtype=bool), np.ones(4, dtype=np.uint8)):
        with pytest.raises(UpdateError, match="expected 4 booleans"):
            sessions[FIRST].masked_counts(sessions[FIRST].prepare_mask(server.header), wrong)  # type: ignore[arg-type]


def test_our_errors_tell_what_to_do() -> None:
    assert issubclass(ReplayError, EvidenceError)
    assert issubclass(HeaderError, ConsortiumError)
    assert tier_a(GROUP, PLAN, VALUES, ONES).total_weight == 5


# The trust boundary

PARTNER_SIDE = {"keys", "masks", "partner", "records"}
SERVER_SIDE = {"arriving", "server", "unmasking"}


def test_partner_side_and_server_side_never_import_each_other() -> None:
    folder = Path(pharmonia.secagg.__file__).parent
    imports = {
        path.stem: {
            (node.module or "").rsplit(".", 1)[-1]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pharmonia.secagg.")
        }
        for path in folder.glob("*.py")
    }
    shared = set(imports) - PARTNER_SIDE - SERVER_SIDE
    for name, found in imports.items():
        assert not (name in PARTNER_SIDE | shared and found & SERVER_SIDE), name
        assert not (name in SERVER_SIDE | shared and found & PARTNER_SIDE), name
