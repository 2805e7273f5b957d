"""Verification says what holds, and finds entries, clocks, versions and checkpoints that were forged, moved or lost."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

import independent_verifier
from governance_cases import END, NOW, amended, first_version, founded, key_of, sorted_keys
from ledger_cases import LATER, MODEL, OTHER_PLAN, PLAN, RESULTS, Book, a_round, approved_book, failed, whole_book
from pharmonia.base.errors import (
    AgreementError,
    EvidenceError,
    LedgerFormError,
    LedgerOrderError,
    LedgerSignatureError,
    LedgerThresholdError,
    LedgerTreeError,
    PharmoniaError,
    VerificationError,
)
from pharmonia.governance.agreement import FORMAT, agreement_json
from pharmonia.governance.checkpoint import SignedCheckpoint, sign_checkpoint
from pharmonia.governance.events import AgreementAdopted, Event, PlanApproved, PlanFiled, Revocable, Revoked
from pharmonia.governance.verify import Delivered, verify_ledger
from pharmonia.governance.verify_result import Check, Family


def test_an_honest_ledger_verifies_and_says_what_was_checked() -> None:
    result = whole_book().verify(Delivered(model_digest=MODEL))
    assert result.failed == ()
    result.require()
    assert (result.n_entries, result.n_events) == (12, 16)
    lines = result.summary().splitlines()
    assert lines[3] == (
        " 1. [held] form: every line is one entry, or one checkpoint, of this ledger in canonical form (14)"
    )
    assert lines[-3] == "16. [not asked] report: the report is one that was recorded, with the same figures (0)"
    assert lines[-1] == "VERIFIED"
    not_asked = {tally.check for tally in result.tallies if tally.n_checked == 0}
    assert not_asked == {Check.PLANNED, Check.REPORT}


def test_machines_read_the_same() -> None:
    tree = whole_book().verify(Delivered(model_digest=RESULTS)).as_json()
    assert json.loads(json.dumps(tree)) == tree
    assert (tree["verified"], tree["failed"], tree["n_findings"]) == (False, ["model"], 1)


def test_every_family_has_an_exit_code_of_its_own() -> None:
    codes = [family.error.exit_code for family in Family]
    assert codes == list(range(41, 50))
    assert VerificationError.exit_code == EvidenceError.exit_code == 4
    others = {error.exit_code for error in _all_errors() if not issubclass(error, VerificationError)}
    assert others.isdisjoint(codes)


def _all_errors() -> list[type[PharmoniaError]]:
    found, queue = list[type[PharmoniaError]](), [PharmoniaError]
    while queue:
        error = queue.pop()
        found.append(error)
        queue.extend(error.__subclasses__())
    return found


def test_a_half_written_last_line_is_found() -> None:
    book = whole_book()
    lines = book.lines()
    result = verify_ledger(
        [*lines[:-1], lines[-1][:-1]], book.checkpoint_lines(), founded().accepted(), Delivered(), LATER
    )
    assert result.failed == (Family.FORM,)
    with pytest.raises(LedgerFormError, match="half written"):
        result.require()


def test_an_entry_of_a_stranger_or_under_a_foreign_name_is_found() -> None:
    book = approved_book()
    book.say("zeppelin", PlanApproved(plan=PLAN))
    entry = book.say("cygnus", PlanApproved(plan=PLAN))
    book.entries[-1] = replace(entry, key=key_of("borealis").public.key_id, number=1)
    result = book.verify()
    assert [finding.check for finding in result.findings] == [Check.SIGNED, Check.SIGNED]
    assert "belongs to no partner; amend the agreement" in result.findings[0].what
    with pytest.raises(LedgerSignatureError, match="2 findings about signatures"):
        result.require()


def test_a_retired_key_signs_nothing_any_more() -> None:
    book = approved_book()
    version = amended().versions[1].agreement
    book.say("dynamo", AgreementAdopted(version=2, agreement=version.digest))
    book.say("borealis", PlanFiled(plan=OTHER_PLAN), generation=0)
    book.say("borealis", PlanFiled(plan=PLAN), generation=1)
    result = book.verify(versions=amended().accepted())
    [finding] = result.findings
    assert (finding.check, finding.where) == (Check.SIGNED, "entry 5")
    active = key_of("borealis", 1).public.key_id
    assert finding.what.startswith("agreement of aurora, version 2: the key ")
    assert finding.what.endswith(f" of borealis is retired; its active keys are: {active}")


def test_a_key_signs_nothing_after_its_end() -> None:
    book = approved_book()
    book.say("acme", PlanFiled(plan=OTHER_PLAN), after=END + timedelta(days=1) - NOW)
    result = book.verify(now=END + timedelta(days=2))
    assert {finding.check for finding in result.findings} == {Check.SIGNED, Check.CROSS_SIGNED}  # as of who saw to it
    assert "ended" in result.findings[0].what


def drop(book: Book) -> None:
    del book.entries[3]


def repeat(book: Book) -> None:
    book.entries.insert(5, book.entries[4])


def move(book: Book) -> None:
    book.entries[5], book.entries[7] = book.entries[7], book.entries[5]


@pytest.mark.parametrize("fraud", [drop, repeat, move])
def test_a_coordinator_that_drops_repeats_or_moves_what_others_said_is_found_though_it_signs_anew(
    fraud: Callable[[Book], None],
) -> None:
    book = approved_book()
    for index in range(4):
        book.say("dynamo", *a_round(index))
        book.say("cygnus", Revoked(what=Revocable.APPROVAL, subject=OTHER_PLAN))
    fraud(book)
    assert Check.COUNTED in failed(book)


def test_clocks_may_differ_by_minutes_not_by_hours() -> None:
    book = approved_book()
    book.say("dynamo", *a_round(0), after=timedelta(minutes=-4))
    assert failed(book) == set()
    book.say("dynamo", *a_round(1), after=timedelta(hours=-1))
    assert failed(book) == {Check.TIMED}
    with pytest.raises(LedgerOrderError, match="after an entry that states"):
        book.verify().require()
    book = approved_book()
    assert {f.check for f in book.verify(now=book.at - timedelta(hours=1)).findings} == {Check.TIMED}


def test_rounds_and_aggregates_follow_each_other() -> None:
    book = approved_book()
    opened, aggregate = a_round(3)
    book.say("dynamo", opened, aggregate)
    assert failed(book) == set()
    wrongs: list[tuple[Event, ...]] = [(aggregate,), (opened,), a_round(2), (a_round(4)[1],)]
    for wrong in wrongs:
        book = approved_book()
        book.say("dynamo", opened, aggregate)
        book.say("dynamo", *wrong)
        assert failed(book) == {Check.SEQUENCE}, wrong


def test_agreement_versions_follow_each_other_and_are_the_signed_ones() -> None:
    first, second = amended().accepted()
    book = approved_book()
    book.say("dynamo", AgreementAdopted(version=3, agreement=second.digest))
    assert failed(book) == {Check.SEQUENCE}
    book = approved_book()
    book.say("dynamo", AgreementAdopted(version=2, agreement=second.digest))
    assert failed(book) == {Check.AGREED}
    assert book.verify(versions=(first, second)).failed == ()
    book = Book()
    book.say("dynamo", AgreementAdopted(version=1, agreement=second.digest))
    with pytest.raises(LedgerThresholdError, match="not the one that the partners signed"):
        book.verify().require()


def test_a_ledger_without_agreement_is_worth_nothing() -> None:
    book = Book()
    assert verify_ledger([], [], founded().accepted(), Delivered(), LATER).failed == (Family.THRESHOLDS,)
    book.say("acme", PlanFiled(plan=PLAN))
    assert failed(book) == {Check.SEQUENCE, Check.AGREED}
    with pytest.raises(AgreementError, match="enough partners signed"):
        verify_ledger([], [], (), Delivered(), LATER)


def test_a_forged_root_a_short_ledger_and_an_open_end_are_found() -> None:
    book = whole_book()
    last = book.checkpoints[-1]
    accepted = founded().accepted()
    forged = replace(last.checkpoint, root="ab" * 32)
    signed = sign_checkpoint(forged, key_of("dynamo")).signed_also_by(key_of("acme"))
    held = verify_ledger(book.lines(), book.checkpoint_lines(), accepted, Delivered(checkpoints=(signed,)), LATER)
    assert [finding.check for finding in held.findings] == [Check.ROOTS]
    assert "that a partner kept" in held.findings[0].where
    short = verify_ledger(
        book.lines()[:5], book.checkpoint_lines()[:1], accepted, Delivered(checkpoints=(last,)), LATER
    )
    assert [finding.check for finding in short.findings] == [Check.COVERED]
    with pytest.raises(LedgerTreeError, match="cut short, or is another history"):
        short.require()
    opened = verify_ledger(book.lines(), book.checkpoint_lines()[:1], accepted, Delivered(), LATER)
    assert [finding.what for finding in opened.findings] == [
        "7 entries follow on the last checkpoint; ask for a new one"
    ]


def test_a_checkpoint_taken_out_or_moved_is_found() -> None:
    book = whole_book()
    first, last = book.checkpoint_lines()
    for lines in ([last], [last, first], [first, first, last]):
        result = verify_ledger(book.lines(), lines, founded().accepted(), Delivered(), LATER)
        assert Family.ORDER in result.failed, lines


def test_a_checkpoint_without_coordinator_or_enough_partners_is_found() -> None:
    for signers, words in ((("acme", "borealis"), "by the coordinator"), (("dynamo",), "1 partners signed; 2 must")):
        book = approved_book()
        book.check(*signers)
        result = book.verify()
        assert [finding.check for finding in result.findings] == [Check.CROSS_SIGNED]
        assert words in result.findings[0].what
    book = approved_book()
    signed = book.check("dynamo", "zeppelin")
    false = replace(signed.signatures[0], signature=bytes(64))
    book.checkpoints[-1] = SignedCheckpoint(checkpoint=signed.checkpoint, signatures=(false, signed.signatures[1]))
    assert {finding.check for finding in book.verify().findings} == {Check.CROSS_SIGNED}


def test_a_key_that_ended_before_a_checkpoint_does_not_count_under_it() -> None:
    first = first_version()
    keys = [replace(key, valid_until=NOW + timedelta(hours=1)) if key.partner == "acme" else key for key in first.keys]
    version = replace(first, keys=sorted_keys(keys))
    for after, expected in ((timedelta(minutes=1), set()), (timedelta(hours=2), {Check.CROSS_SIGNED})):
        book = Book(ledger=version.digest)
        book.say("dynamo", AgreementAdopted(version=1, agreement=version.digest), after=after)
        book.check("dynamo", "acme")
        result = book.verify(versions=[version])
        assert {finding.check for finding in result.findings} == expected
        assert not expected or "1 partners signed; 2 must, besides the keys pk-" in result.findings[0].what
        _, bad_entries, bad_checkpoints = independent_verifier.verify(
            book.lines(), book.checkpoint_lines(), {"format": FORMAT, "versions": [{"body": agreement_json(version)}]}
        )
        assert (bad_entries, bad_checkpoints) == ([], [0] if expected else [])


def test_a_checkpoint_is_not_of_a_time_before_what_it_covers_or_the_one_before() -> None:
    book = approved_book()
    for minutes, expected in ((-4, set()), (-6, {Check.TIMED})):
        book.checkpoints.clear()
        book.at, at = book.at + timedelta(minutes=minutes), book.at
        book.check()
        book.at = at
        assert failed(book) == expected
    assert "after an entry that states" in book.verify().findings[0].what
    book = approved_book()
    book.at, at = book.at + timedelta(hours=1), book.at  # ahead of the entries, but not of who verifies
    book.check()
    book.at = at
    book.say("dynamo", *a_round(0))
    book.check()
    assert [finding.check for finding in book.verify().findings] == [Check.TIMED]
    assert "after a checkpoint that states" in book.verify().findings[0].what


def test_findings_without_number_are_counted_not_kept() -> None:
    book = approved_book()
    for _ in range(150):
        book.say("finch", PlanFiled(plan=PLAN))
    result = book.verify()
    assert len(result.findings) == 100
    assert result.n_findings == 300
    assert "and 200 more" in result.summary()
