"""Plans: approved byte for byte, checked by each party, refused with document, version, reason and remedy."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from governance_cases import CODE, COMMITMENTS, END, NOW, OWNERS, amended, approved, founded, key_of, plan_under
from pharmonia.base.errors import AgreementError, DocumentError, PharmoniaError, TermsError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.documents_signed import Domain, sign_digest
from pharmonia.governance.plan import (
    Delivery,
    PlanDataset,
    RunPlan,
    SecureTerms,
    Setting,
    SignedPlan,
    Tier,
    approve,
    merge_approvals,
)
from pharmonia.governance.plan_check import check_plan
from pharmonia.governance.plan_codec import decode_plan, encode_plan
from pharmonia.governance.policy import LocalPolicy, open_policy, revoke_all, with_grants
from pharmonia.governance.terms import (
    Action,
    Allowed,
    Decision,
    PrivacyBudget,
    RefusalCode,
    Refused,
    ResourceKind,
    Role,
)

AGREEMENT = founded().current(NOW)
PLAN = plan_under(AGREEMENT)
SIGNED = approved(PLAN, AGREEMENT)
POLICY = open_policy(AGREEMENT, "acme", NOW)
PLAIN = SecureTerms(required=False, n_colluders=0, ring_degree=10, tier=Tier.COMMIT_THEN_MASK, weight_bits=16)


def check(
    signed: SignedPlan = SIGNED, policy: LocalPolicy = POLICY, agreement: Agreement = AGREEMENT, days: int = 0
) -> Decision:
    return check_plan(signed, agreement, policy, CODE, NOW + timedelta(days=days))


def anew(change: Callable[[RunPlan], RunPlan], agreement: Agreement = AGREEMENT) -> SignedPlan:
    """A changed plan that all approve."""
    return approved(change(plan_under(agreement)), agreement)


def test_a_plan_that_all_approved_is_allowed() -> None:
    assert check() == Allowed(document="agreement of aurora", version=1)
    assert PLAN.requires_secure_sums
    assert PLAN.partners == OWNERS


def test_a_plan_survives_its_file() -> None:
    assert decode_plan(encode_plan(SIGNED), "plan.json") == SIGNED
    bare = replace(PLAN, reference_set="4d" * 32, privacy_budget=None, code=None, deliveries=())
    signed = SignedPlan(plan=bare, signatures=())
    assert decode_plan(encode_plan(signed), "plan.json") == signed


CHANGES: list[tuple[str, Callable[[RunPlan], RunPlan], RefusalCode]] = [
    ("min-cohort", lambda p: replace(p, datasets=p.datasets[:1], aggregation=PLAIN), RefusalCode.TOO_FEW_PARTNERS),
    ("plain", lambda p: replace(p, aggregation=PLAIN), RefusalCode.PLAIN_AGGREGATION),
    ("no code", lambda p: replace(p, code=None), RefusalCode.CODE_DIFFERS),
    ("package", lambda p: replace(p, code=replace(CODE, package="9f" * 32)), RefusalCode.CODE_DIFFERS),
    ("environment", lambda p: replace(p, code=replace(CODE, environment="9f" * 32)), RefusalCode.CODE_DIFFERS),
    ("no budget", lambda p: replace(p, privacy_budget=None), RefusalCode.PRIVACY_BUDGET),
    ("delta", lambda p: replace(p, privacy_budget=PrivacyBudget(epsilon=1.0, delta=0.1)), RefusalCode.PRIVACY_BUDGET),
    ("metric", lambda p: replace(p, metrics=("luck",)), RefusalCode.METRIC),
    ("coordinator", lambda p: replace(p, coordinator="borealis"), RefusalCode.ROLE),
    ("stranger", lambda p: replace(p, coordinator="nobody"), RefusalCode.ROLE),
    (
        "data of an auditor",
        lambda p: replace(p, datasets=(*p.datasets, PlanDataset(partner="eagle", commitment="00" * 32))),
        RefusalCode.UNKNOWN_PARTNER,
    ),
    (
        "without us",
        lambda p: replace(p, datasets=p.datasets[1:], aggregation=replace(p.aggregation, n_colluders=0)),
        RefusalCode.DATASET,
    ),
    (
        "trunk to the auditor",
        lambda p: replace(p, deliveries=(Delivery(what=ResourceKind.SHARED_TRUNK, partners=("acme", "eagle")),)),
        RefusalCode.NOT_RECIPIENT,
    ),
    ("expired", lambda p: replace(p, valid_until=NOW - timedelta(seconds=1)), RefusalCode.PLAN_EXPIRED),
]


@pytest.mark.parametrize(("change", "why"), [(c, w) for _, c, w in CHANGES], ids=[name for name, _, _ in CHANGES])
def test_a_plan_that_breaks_agreement_or_policy_is_refused_with_its_reason(
    change: Callable[[RunPlan], RunPlan], why: RefusalCode
) -> None:
    decision = check(anew(change))
    assert isinstance(decision, Refused)
    assert decision.code is why
    assert decision.version == 1
    for text in (decision.document, decision.reason, decision.remedy):
        assert len(text) > 8


def test_a_changed_plan_is_refused() -> None:
    for changed in (replace(PLAN, seed=8), replace(PLAN, n_rounds=3), replace(PLAN, name="kinase")):
        decision = check(replace(SIGNED, plan=changed))
        assert isinstance(decision, Refused)
        assert decision.code is RefusalCode.PLAN_NOT_APPROVED
        assert "was changed after it was signed" in decision.reason


def test_a_plan_that_we_did_not_approve_is_refused() -> None:
    decision = check(approved(PLAN, AGREEMENT, ["borealis", "cygnus"]))
    assert isinstance(decision, Refused)
    assert (decision.code, decision.document) == (RefusalCode.PLAN_NOT_APPROVED, "plan kinases")
    assert "acme has not approved it" in decision.reason


def test_the_threshold_counts_data_owners_once_each() -> None:
    too_few = approved(PLAN, AGREEMENT, ["acme", "dynamo", "eagle"])
    decision = check(too_few)
    assert isinstance(decision, Refused)
    assert decision.reason == "1 of the 2 data owners that it takes have approved it"
    twice = approve(approve(too_few, AGREEMENT, key_of("acme"), NOW), AGREEMENT, key_of("borealis"), NOW)
    assert [s.key_id for s in twice.signatures].count(key_of("acme").public.key_id) == 1
    assert isinstance(check(twice), Allowed)


def test_a_plan_for_other_code_is_refused() -> None:
    for ours in (replace(CODE, package="00" * 32), replace(CODE, environment="00" * 32)):
        decision = check_plan(SIGNED, AGREEMENT, POLICY, ours, NOW)
        assert isinstance(decision, Refused)
        assert decision.code is RefusalCode.CODE_DIFFERS
        assert "0000000000000000 runs here" in decision.reason


def test_revocation_ends_the_next_round() -> None:
    assert isinstance(check(policy=POLICY), Allowed)
    revoked = check(policy=revoke_all(POLICY, NOW))
    assert isinstance(revoked, Refused)
    assert (revoked.code, revoked.document, revoked.version) == (RefusalCode.GRANT_REVOKED, "policy of acme", 2)
    amended_now = check(agreement=amended().current(NOW + timedelta(days=30)), days=30)
    assert isinstance(amended_now, Refused)
    assert amended_now.code is RefusalCode.OTHER_AGREEMENT
    assert "in force is the agreement of aurora, version 2" in amended_now.reason
    ended = check(days=(END - NOW).days + 1)
    assert isinstance(ended, Refused)
    assert ended.code is RefusalCode.AGREEMENT_ENDED


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (replace(POLICY, privacy_budget=PrivacyBudget(epsilon=1.0, delta=1e-5)), RefusalCode.PRIVACY_BUDGET),
        (replace(POLICY, min_cohort=4), RefusalCode.TOO_FEW_PARTNERS),
        (replace(POLICY, valid_until=NOW - timedelta(seconds=1)), RefusalCode.POLICY_EXPIRED),
        (with_grants(POLICY, (), NOW), RefusalCode.NOT_GRANTED),
        (with_grants(POLICY, [replace(POLICY.grants[0], datasets=("00" * 32,))], NOW), RefusalCode.NOT_GRANTED),
        (with_grants(POLICY, [replace(POLICY.grants[0], partners=("dynamo",))], NOW), RefusalCode.NOT_GRANTED),
        (with_grants(POLICY, [replace(POLICY.grants[0], actions=(Action.TRAIN_ON,))], NOW), RefusalCode.NOT_GRANTED),
    ],
)
def test_our_own_rules_win(policy: LocalPolicy, why: RefusalCode) -> None:
    decision = check(policy=policy)
    assert isinstance(decision, Refused)
    assert (decision.code, decision.document) == (why, "policy of acme")


def test_a_policy_may_ask_for_secure_sums_where_the_agreement_does_not() -> None:
    rules = replace(AGREEMENT.terms.plan_rules, secure_aggregation=False)
    lax = replace(AGREEMENT, terms=replace(AGREEMENT.terms, plan_rules=rules))
    plan = anew(lambda p: replace(p, aggregation=PLAIN), lax)
    assert isinstance(check(plan, replace(POLICY, secure_aggregation=False), lax), Allowed)
    decision = check(plan, POLICY, lax)
    assert isinstance(decision, Refused)
    assert (decision.code, decision.document) == (RefusalCode.PLAIN_AGGREGATION, "policy of acme")


def test_an_agreement_may_ask_for_more_colluders() -> None:
    rules = replace(AGREEMENT.terms.plan_rules, n_colluders=1)
    strict = replace(AGREEMENT, terms=replace(AGREEMENT.terms, plan_rules=rules, min_cohort=3))
    assert isinstance(check(anew(lambda p: p, strict), replace(POLICY, min_cohort=3), strict), Allowed)
    fewer = anew(lambda p: replace(p, aggregation=replace(p.aggregation, n_colluders=0)), strict)
    decision = check(fewer, replace(POLICY, min_cohort=3), strict)
    assert isinstance(decision, Refused)
    assert decision.code is RefusalCode.PLAIN_AGGREGATION


def test_copies_signed_apart_are_merged() -> None:
    copies = [approved(PLAN, AGREEMENT, [partner]) for partner in OWNERS]
    assert merge_approvals(copies) == SIGNED
    with pytest.raises(DocumentError, match="a copy is of another plan or version"):
        merge_approvals([copies[0], approved(replace(PLAN, seed=8), AGREEMENT, ["borealis"])])


def test_signing_needs_the_agreement_that_the_plan_names_and_an_active_key() -> None:
    second = amended().current(NOW + timedelta(days=30))
    with pytest.raises(AgreementError, match="write it anew"):
        approve(SignedPlan(plan=PLAN, signatures=()), second, key_of("acme"), NOW)
    later = SignedPlan(plan=plan_under(second), signatures=())
    with pytest.raises(AgreementError, match=r"version 2: the key pk-\w+ of borealis is retired; its active keys are"):
        approve(later, second, key_of("borealis"), NOW)
    old = sign_digest(key_of("borealis"), Domain.PLAN, later.plan.digest, Role.DATA_OWNER, NOW)
    decision = check(replace(later, signatures=(old,)), agreement=second, days=31)
    assert isinstance(decision, Refused)
    assert "is retired" in decision.reason


BAD: list[Callable[[], PharmoniaError | object]] = [
    lambda: SecureTerms(required=True, n_colluders=-1, ring_degree=10, tier=Tier.COMMIT_THEN_MASK, weight_bits=16),
    lambda: SecureTerms(required=True, n_colluders=1, ring_degree=3, tier=Tier.COMMIT_THEN_MASK, weight_bits=16),
    lambda: SecureTerms(required=True, n_colluders=1, ring_degree=4, tier=Tier.COMMIT_THEN_MASK, weight_bits=25),
    lambda: Setting(name="rate", value=float("nan")),
    lambda: Setting(name="rate", value=10**400),
    lambda: Setting(name="Rate", value=1),
    lambda: Setting(name="rate", value="a\nb"),
    lambda: Delivery(what=ResourceKind.PRIVATE_HEAD, partners=("acme",)),
    lambda: Delivery(what=ResourceKind.REPORT, partners=()),
    lambda: replace(PLAN, datasets=tuple(reversed(PLAN.datasets))),
    lambda: replace(PLAN, datasets=()),
    lambda: replace(PLAN, n_rounds=0),
    lambda: replace(PLAN, seed=2**32),
    lambda: replace(PLAN, recipe="not a digest"),
    lambda: replace(PLAN, aggregation=replace(PLAN.aggregation, n_colluders=2)),
    lambda: replace(PLAN, valid_until=NOW.replace(tzinfo=None)),
    lambda: replace(PLAN, deliveries=PLAN.deliveries * 2),
    lambda: PlanDataset(partner="acme", commitment=COMMITMENTS["acme"].upper()),
    lambda: PrivacyBudget(epsilon=float("inf"), delta=0.5),
]


@pytest.mark.parametrize("bad", BAD)
def test_a_plan_that_nobody_could_run_is_refused(bad: Callable[[], object]) -> None:
    with pytest.raises(TermsError):
        bad()
