"""Verification says what holds, and for every kind of fraud which family of checks fails."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from governance_cases import END, NOW, OWNERS, amended, founded, key_of, plan_under
from ledger_cases import (
    FIGURES,
    LATER,
    MODEL,
    OTHER_PLAN,
    PLAN,
    RESULTS,
    SESSION,
    Book,
    a_round,
    approved_book,
    whole_book,
)
from pharmonia.base.errors import (
    AgreementError,
    DeliveredModelError,
    EvidenceError,
    InputError,
    LedgerApprovalError,
    LedgerFormError,
    LedgerOrderError,
    LedgerPermissionError,
    LedgerSignatureError,
    LedgerThresholdError,
    LedgerTreeError,
    PharmoniaError,
    ReportedFigureError,
    VerificationError,
)
from pharmonia.governance.checkpoint import SignedCheckpoint, sign_checkpoint
from pharmonia.governance.events import (
    AgreementAdopted,
    Evaluated,
    Event,
    Exporting,
    PlanApproved,
    PlanFiled,
    Revocable,
    Revoked,
    RoundAggregated,
)
from pharmonia.governance.terms import ResourceKind
from pharmonia.governance.verify import Delivered, verify_ledger
from pharmonia.governance.verify_report import figures_of
from pharmonia.governance.verify_result import Check, Family

SAMPLE = Path(__file__).parents[1] / "benchmarks" / "results" / "kiba-sample-norm-batch" / "results.json"


def failed(book: Book, delivered: Delivered | None = None) -> set[Check]:
    return {tally.check for tally in book.verify(delivered).tallies if tally.n_failed}


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
    assert {finding.check for finding in result.findings} == {Check.SIGNED}
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


def test_a_round_needs_a_plan_that_enough_data_owners_and_every_contributor_approve() -> None:
    book = approved_book()
    book.say("acme", PlanFiled(plan=OTHER_PLAN))
    book.say("borealis", PlanApproved(plan=OTHER_PLAN))
    book.say("dynamo", *a_round(0, "acme", "borealis", plan=OTHER_PLAN))
    result = book.verify()
    assert [finding.what for finding in result.findings] == [
        f"1 data owners approve the plan {OTHER_PLAN}; 2 must",
        f"acme contributed without a standing approval of the plan {OTHER_PLAN}",
    ]
    with pytest.raises(LedgerApprovalError):
        result.require()


@pytest.mark.parametrize("what", [Revocable.APPROVAL, Revocable.DATASET])
def test_a_revocation_holds_from_the_next_round_on(what: Revocable) -> None:
    book = approved_book()
    book.say("dynamo", *a_round(0))
    book.say("cygnus", Revoked(what=what, subject=PLAN))
    book.say("dynamo", *a_round(1, "acme", "borealis"))
    assert failed(book) == set()
    book.say("dynamo", *a_round(2))
    [finding] = book.verify().findings
    assert finding.what == f"cygnus contributed without a standing approval of the plan {PLAN}"
    book.say("cygnus", PlanApproved(plan=PLAN))
    book.say("dynamo", *a_round(3))
    assert len(book.verify().findings) == 1


def test_approvals_do_not_outlive_a_version_of_the_agreement() -> None:
    book = approved_book()
    book.say("dynamo", AgreementAdopted(version=2, agreement=amended().accepted()[1].digest))
    book.say("dynamo", *a_round(0, "acme", "cygnus"))
    result = book.verify(versions=amended().accepted())
    assert {finding.check for finding in result.findings} == {Check.SEQUENCE, Check.APPROVED}


def test_a_round_after_the_end_of_the_agreement_is_found() -> None:
    book = approved_book()
    book.say("dynamo", *a_round(0), after=END + timedelta(seconds=1) - NOW)
    result = book.verify(now=END + timedelta(days=2))
    assert result.failed[0] in {Family.SIGNATURES, Family.APPROVALS}


def test_a_cohort_too_small_or_of_others_than_data_owners_is_found() -> None:
    book = approved_book()
    book.say("dynamo", *a_round(0, "acme"))
    assert failed(book) == {Check.COHORT}
    book = approved_book()
    book.say("dynamo", *a_round(0, "acme", "borealis", "eagle"))
    assert failed(book) == {Check.COHORT, Check.APPROVED}
    book = approved_book()
    opened, _ = a_round(0, "acme", "borealis")
    more = RoundAggregated(session=SESSION, round_index=0, aggregate=PLAN, contributors=a_round(0)[1].contributors)
    book.say("dynamo", opened, more)
    assert failed(book) == {Check.COHORT}


def test_everybody_does_only_what_its_role_allows() -> None:
    book = approved_book()
    book.say("acme", a_round(0)[0])
    book.say("finch", Evaluated(plan=PLAN, model=MODEL, results=RESULTS, figures=FIGURES))
    book.say("eagle", PlanApproved(plan=PLAN))
    result = book.verify()
    assert {finding.check for finding in result.findings} == {Check.ROLES}
    assert len(result.findings) == 3
    with pytest.raises(LedgerPermissionError, match="for coordinator"):
        result.require()


@pytest.mark.parametrize(
    ("author", "what", "recipient", "reason"),
    [
        ("acme", ResourceKind.PRIVATE_HEAD, "borealis", "its owner"),
        ("acme", ResourceKind.PRIVATE_HEAD, "outside", "nobody"),
        ("acme", ResourceKind.PRIVATE_HEAD, "public", "nobody"),
        ("acme", ResourceKind.DATASET, "dynamo", "its owner"),
        ("dynamo", ResourceKind.SHARED_TRUNK, "finch", "recipients of the trunk"),
        ("dynamo", ResourceKind.SHARED_TRUNK, "outside", "who may have it and may export it"),
        ("acme", ResourceKind.SHARED_TRUNK, "public", "if it may be published"),
        ("borealis", ResourceKind.LEDGER, "outside", "may export it"),
        ("acme", ResourceKind.SHARED_TRUNK, "zeppelin", "no partner's active key"),
    ],
)
def test_an_export_that_the_agreement_forbids_is_found(
    author: str, what: ResourceKind, recipient: str, reason: str
) -> None:
    book = approved_book()
    to = recipient if recipient in ("outside", "public") else key_of(recipient).public.key_id
    book.say(author, Exporting(what=what, content=MODEL, recipient=to))
    [finding] = book.verify().findings
    assert finding.check is Check.EXPORTS
    assert reason in finding.what


def test_exports_that_the_agreement_allows_pass() -> None:
    book = approved_book()
    book.say("acme", Exporting(what=ResourceKind.SHARED_TRUNK, content=MODEL, recipient="outside"))
    book.say("borealis", Exporting(what=ResourceKind.REPORT, content=RESULTS, recipient="public"))
    book.say("eagle", Exporting(what=ResourceKind.LEDGER, content=RESULTS, recipient="outside"))
    assert failed(book) == set()


def test_a_model_that_nobody_handed_over_is_found() -> None:
    result = whole_book().verify(Delivered(model_digest=RESULTS))
    with pytest.raises(DeliveredModelError, match="nobody recorded handing over"):
        result.require()


def test_a_report_is_recorded_with_figures_that_can_be_computed_again() -> None:
    report = SAMPLE.read_bytes()
    figures = figures_of(report)
    assert [one.name for one in figures] == ["ci", "mse", "pearson", "r2m"]
    book = approved_book()
    book.say("acme", Evaluated(plan=PLAN, model=MODEL, results=sha256(report).hexdigest(), figures=figures))
    assert failed(book, Delivered(report=report)) == set()
    with pytest.raises(ReportedFigureError, match="nobody recorded results"):
        book.verify(Delivered(report=report + b"\n")).require()
    polished = (replace(figures[0], ten_thousandths=figures[0].ten_thousandths + 100), *figures[1:])
    book.say("acme", Evaluated(plan=PLAN, model=MODEL, results=sha256(report).hexdigest(), figures=polished))
    with pytest.raises(ReportedFigureError, match="for the report, which says"):
        book.verify(Delivered(report=report)).require()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"schema":"other"}', b"[" * 10_000, b'{"schema":"pharmonia/comparison"}', b"\xff"]
)
def test_a_file_that_is_no_report_is_the_reader_s_to_fix(content: bytes) -> None:
    with pytest.raises(InputError):
        figures_of(content)


def test_findings_without_number_are_counted_not_kept() -> None:
    book = approved_book()
    for _ in range(150):
        book.say("finch", PlanFiled(plan=PLAN))
    result = book.verify()
    assert len(result.findings) == 100
    assert result.n_findings == 300
    assert "and 200 more" in result.summary()


def test_rounds_are_held_to_the_plans_that_the_auditor_has() -> None:
    plan = plan_under(founded().versions[0].agreement)
    two = replace(plan, datasets=plan.datasets[:2], aggregation=replace(plan.aggregation, n_colluders=0))
    for one, words in ((plan, ""), (two, "whose data the plan does not name"), (plan, "the plan ended")):
        book = approved_book()
        book.say("acme", PlanFiled(plan=one.digest))
        for owner in OWNERS:
            book.say(owner, PlanApproved(plan=one.digest))
        after = plan.valid_until - NOW if words == "the plan ended" else timedelta(minutes=1)
        book.say("dynamo", *a_round(0, plan=one.digest), after=after)
        result = book.verify(Delivered(plans=(one,)), now=END)
        assert [tally.n_checked for tally in result.tallies if tally.check is Check.PLANNED] == [1]
        assert [finding.check for finding in result.findings] == [Check.PLANNED] * bool(words)
        assert not words or words in result.findings[0].what
