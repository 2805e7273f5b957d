"""Verification holds rounds, exports, models and reports to what the agreement, the plan and the ledger say."""

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from governance_cases import END, NOW, OWNERS, amended, founded, key_of, plan_under
from ledger_cases import FIGURES, MODEL, OTHER_PLAN, PLAN, RESULTS, SESSION, a_round, approved_book, failed, whole_book
from pharmonia.base.errors import (
    DeliveredModelError,
    InputError,
    LedgerApprovalError,
    LedgerPermissionError,
    ReportedFigureError,
)
from pharmonia.governance.events import (
    AgreementAdopted,
    Evaluated,
    Exporting,
    PlanApproved,
    PlanFiled,
    Revocable,
    Revoked,
    RoundAggregated,
)
from pharmonia.governance.plan import Delivery
from pharmonia.governance.terms import ResourceKind
from pharmonia.governance.verify import Delivered
from pharmonia.governance.verify_report import figures_of
from pharmonia.governance.verify_result import Check, Family

SAMPLE = Path(__file__).parents[1] / "benchmarks" / "results" / "kiba-sample-norm-batch" / "results.json"


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


def handing_over(author: str, recipient: str = "borealis") -> tuple[str, Exporting]:
    to = recipient if recipient == "outside" else key_of(recipient).public.key_id
    return author, Exporting(what=ResourceKind.SHARED_TRUNK, content=MODEL, recipient=to)


def test_a_model_handed_over_by_who_may_not_have_it_is_found() -> None:
    for author, expected in (("finch", {Check.EXPORTS, Check.MODEL}), ("dynamo", set()), ("acme", set())):
        book = approved_book()
        book.say("dynamo", *a_round(0))
        book.say(*handing_over(author))
        assert failed(book, Delivered(model_digest=MODEL)) == expected
    book.say(*handing_over("finch"))
    assert failed(book, Delivered(model_digest=MODEL)) == {Check.EXPORTS}  # acme's still stands


def test_a_model_is_handed_over_after_a_round_was_aggregated() -> None:
    book = approved_book()
    book.say("dynamo", a_round(0)[0])
    book.say(*handing_over("dynamo"))
    [finding] = book.verify(Delivered(model_digest=MODEL)).findings
    assert finding.check is Check.MODEL
    assert finding.what.endswith("; entry 5: no aggregate of a round stands before it")


@pytest.mark.parametrize(
    ("author", "recipient", "given", "lacks"),
    [
        ("dynamo", "borealis", ("borealis",), ""),
        ("dynamo", "borealis", ("acme",), "borealis"),
        ("acme", "outside", ("acme",), ""),
        ("acme", "outside", ("borealis",), "acme"),
        ("dynamo", "borealis", (), "borealis"),
    ],
)
def test_a_model_goes_to_whom_a_plan_at_hand_that_was_trained_gives_it(
    author: str, recipient: str, given: tuple[str, ...], lacks: str
) -> None:
    first = plan_under(founded().versions[0].agreement)
    trunk = tuple(Delivery(what=ResourceKind.SHARED_TRUNK, partners=given) for _ in given[:1])
    plan = replace(first, deliveries=(first.deliveries[0], *trunk))
    idle = replace(first, name="idle")  # gives the trunk to all, but no round of it is on the ledger
    book = approved_book()
    for one in (plan, idle):
        book.say("acme", PlanFiled(plan=one.digest), PlanApproved(plan=one.digest))
        for owner in OWNERS[1:]:
            book.say(owner, PlanApproved(plan=one.digest))
    book.say("dynamo", *a_round(0, plan=plan.digest))
    book.say(*handing_over(author, recipient))
    result = book.verify(Delivered(model_digest=MODEL, plans=(plan, idle)))
    assert {finding.check for finding in result.findings} == ({Check.MODEL} if lacks else set())
    assert not lacks or result.findings[0].what.endswith(f"was trained before gives its model to {lacks}")


def test_a_plan_at_hand_that_the_ledger_never_names_is_found() -> None:
    plan = plan_under(founded().versions[0].agreement)
    edited = replace(plan, n_rounds=3)
    book = approved_book()
    book.say("acme", PlanFiled(plan=plan.digest), PlanApproved(plan=plan.digest))
    assert book.verify(Delivered(plans=(plan,))).findings == ()
    result = book.verify(Delivered(plans=(plan, edited)))
    [finding] = result.findings
    assert (finding.check, finding.where) == (Check.PLANNED, "plan kinases, version 1")
    assert finding.what.startswith(f"the ledger never names the plan {edited.digest}")
    with pytest.raises(LedgerApprovalError):
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
        assert [tally.n_checked for tally in result.tallies if tally.check is Check.PLANNED] == [2]
        assert [finding.check for finding in result.findings] == [Check.PLANNED] * bool(words)
        assert not words or words in result.findings[0].what


def test_a_plan_gives_no_more_models_than_it_has_rounds_and_one_that_is_made_again_counts_once() -> None:
    plan = replace(plan_under(founded().versions[0].agreement), n_rounds=2)
    book = approved_book()
    book.say("acme", PlanFiled(plan=plan.digest))
    for owner in OWNERS:
        book.say(owner, PlanApproved(plan=plan.digest))

    def trained(index: int, aggregate: str, session: str = SESSION) -> None:
        opened, summed = a_round(index, plan=plan.digest)
        of_ours = replace(opened, session=session)
        book.say("dynamo", of_ours, replace(summed, session=session, aggregate=aggregate * 32))

    trained(0, "a1")
    trained(4, "a2")
    trained(3, "a2", session="ee" * 32)  # killed before it was saved, resumed in another session
    given = Delivered(plans=(plan,))
    assert failed(book, given) == set()
    trained(5, "a3", session="ee" * 32)
    assert failed(book) == set()  # nobody knows how many rounds it has
    [finding] = book.verify(given).findings
    assert finding.check is Check.PLANNED
    assert finding.what == f"{plan.label}, version {plan.version}: one model more than its 2 rounds give"
