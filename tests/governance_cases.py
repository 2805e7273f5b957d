"""A consortium of four organisations for tests: two companies, an institute that runs the server, and an auditor."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

from pharmonia.governance.agreement import Agreement, KeyState, PartnerKey
from pharmonia.governance.agreement_history import AgreementHistory, propose, sign_proposed
from pharmonia.governance.identity import CommitmentKey, PrivateKey
from pharmonia.governance.plan import (
    Delivery,
    PlanDataset,
    RunPlan,
    SecureTerms,
    Setting,
    SignedPlan,
    Tier,
    approve,
)
from pharmonia.governance.terms import (
    CodeIdentity,
    Credit,
    Partner,
    PlanRules,
    PrivacyBudget,
    ResourceKind,
    Role,
    Terms,
    Thresholds,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
END = datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC)
OWNERS = ("acme", "borealis", "cygnus")


@cache
def _key(partner: str, generation: int) -> PrivateKey:
    return PrivateKey.generate()


def key_of(partner: str, generation: int = 0) -> PrivateKey:
    """The same key all session long; another for each generation."""
    return _key(partner, generation)


def partner_key(partner: str, generation: int = 0, state: KeyState = KeyState.ACTIVE) -> PartnerKey:
    """As an agreement names it."""
    return PartnerKey(partner=partner, public=key_of(partner, generation).public, state=state, valid_until=END)


def sorted_keys(keys: Sequence[PartnerKey]) -> tuple[PartnerKey, ...]:
    """In the order of an agreement."""
    return tuple(sorted(keys, key=lambda key: (key.partner, key.public.key_id)))


def terms() -> Terms:
    """Three data owners, one of them a model developer too; a coordinator without data; an auditor."""
    report, trunk, ledger = ResourceKind.REPORT, ResourceKind.SHARED_TRUNK, ResourceKind.LEDGER
    owner = (Role.DATA_OWNER,)
    return Terms(
        consortium="aurora",
        title="Aurora",
        purpose="Models of kinase selectivity for research of the partners.",
        valid_until=END,
        thresholds=Thresholds(agreement=3, plan=2, checkpoint=2),
        min_cohort=2,
        plan_rules=PlanRules(
            secure_aggregation=True,
            n_colluders=0,
            privacy_budget=PrivacyBudget(epsilon=8.0, delta=1e-5),
            code_digest=True,
        ),
        trunk_recipients=OWNERS,
        publishable=(report,),
        metrics=("ci", "mse"),
        credit=Credit.GAIN,
        partners=(
            Partner(id="acme", name="Acme Pharma", roles=(*owner, Role.MODEL_DEVELOPER), may_export=(report, trunk)),
            Partner(id="borealis", name="Borealis AB", roles=owner, may_export=(report,)),
            Partner(id="cygnus", name="Cygnus GmbH", roles=owner, may_export=()),
            Partner(id="dynamo", name="Dynamo Institute", roles=(Role.COORDINATOR,), may_export=()),
            Partner(id="eagle", name="Eagle Audit", roles=(Role.AUDITOR,), may_export=(ledger,)),
            Partner(id="finch", name="Finch Society", roles=(Role.OBSERVER,), may_export=()),
        ),
    )


def first_version() -> Agreement:
    """Version 1, not signed."""
    keys = sorted_keys([partner_key(partner) for partner in terms().ids])
    return Agreement(version=1, previous=None, terms=terms(), keys=keys)


def sign_all(history: AgreementHistory, keys: Sequence[PrivateKey], now: datetime = NOW) -> AgreementHistory:
    """The history with those keys' signatures on what it proposes."""
    for key in keys:
        history = sign_proposed(history, key, now)
    return history


@cache
def founded() -> AgreementHistory:
    """Version 1, signed by all."""
    return sign_all(propose(None, first_version()), [key_of(partner) for partner in terms().ids])


def second_version() -> Agreement:
    """Version 2: borealis has a new key, and the purpose is longer."""
    first = founded().current(NOW)
    others = [key for key in first.keys if key.partner != "borealis"]
    keys = [*others, partner_key("borealis", 0, KeyState.RETIRED), partner_key("borealis", 1)]
    changed = replace(first.terms, purpose="Models of kinase selectivity and toxicity for research of the partners.")
    return Agreement(version=2, previous=first.digest, terms=changed, keys=sorted_keys(keys))


@cache
def amended() -> AgreementHistory:
    """Both versions, the second signed by just enough: three of the old keys, three of the new."""
    keys = [key_of("acme"), key_of("borealis"), key_of("cygnus"), key_of("borealis", 1)]
    return sign_all(propose(founded(), second_version()), keys, NOW + timedelta(days=30))


def succeeded(history: AgreementHistory, changed: Agreement) -> AgreementHistory:
    """The history with a next version that says this, signed by as many as it takes."""
    last = history.versions[-1].agreement
    version = replace(changed, version=last.version + 1, previous=last.digest)
    active = {one.public.key_id for one in (*last.keys, *version.keys) if one.state is KeyState.ACTIVE}
    proposed = propose(history, version)
    for key in [key_of(name, generation) for name in version.terms.ids for generation in (2, 1, 0)]:
        if key.public.key_id in active and proposed.proposed:
            proposed = sign_all(proposed, [key])
    return proposed


def rotated(history: AgreementHistory, partner: str, generation: int) -> AgreementHistory:
    """The history with a next version, in which a partner has its next key and the one before is retired."""
    last = history.versions[-1].agreement
    old = key_of(partner, generation - 1).public.key_id
    keys = [replace(one, state=KeyState.RETIRED) if one.public.key_id == old else one for one in last.keys]
    return succeeded(history, replace(last, keys=sorted_keys([*keys, partner_key(partner, generation)])))


CODE = CodeIdentity(package="1a" * 32, environment="2b" * 32)
COMMITMENTS = {partner: CommitmentKey(partner.encode().ljust(32)).commit("aurora", "cd" * 32) for partner in OWNERS}


def plan_under(agreement: Agreement) -> RunPlan:
    """Three data owners train two rounds."""
    return RunPlan(
        consortium="aurora",
        agreement_version=agreement.version,
        agreement=agreement.digest,
        name="kinases",
        version=1,
        valid_until=END - timedelta(days=100),
        coordinator="dynamo",
        datasets=tuple(PlanDataset(partner=partner, commitment=COMMITMENTS[partner]) for partner in OWNERS),
        recipe="3c" * 32,
        reference_set=None,
        model="graphdta",
        model_settings=(Setting(name="norm", value="layer"),),
        method="fedavg",
        method_settings=(
            Setting(name="batch-size", value=128),
            Setting(name="learning-rate", value=5e-4),
            Setting(name="split", value="random"),
        ),
        n_rounds=2,
        seed=7,
        aggregation=SecureTerms(
            required=True, n_colluders=1, ring_degree=10, tier=Tier.COMMIT_THEN_MASK, weight_bits=16
        ),
        privacy_budget=PrivacyBudget(epsilon=4.0, delta=1e-6),
        code=CODE,
        metrics=("ci", "mse"),
        deliveries=(
            Delivery(what=ResourceKind.REPORT, partners=(*OWNERS, "eagle")),
            Delivery(what=ResourceKind.SHARED_TRUNK, partners=OWNERS),
        ),
    )


def approved(plan: RunPlan, agreement: Agreement, partners: Sequence[str] = OWNERS) -> SignedPlan:
    """The plan, approved by those partners."""
    signed = SignedPlan(plan=plan, signatures=())
    for partner in partners:
        signed = approve(signed, agreement, key_of(partner), NOW)
    return signed
