"""A comparison's federated arm as a plan that partners sign, and whether a command is the one that they signed."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pharmonia.base.canonical import Json, digest_json
from pharmonia.base.errors import OptionError, RefusedError
from pharmonia.bench.arms import SharedOut
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.chem.proteins import ALPHABET
from pharmonia.chem.smiles import SMILES_ALPHABET
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.plan import (
    MAX_WEIGHT_BITS,
    Delivery,
    PlanDataset,
    RunPlan,
    Scalar,
    SecureTerms,
    Setting,
    Tier,
)
from pharmonia.governance.terms import CodeIdentity, ResourceKind
from pharmonia.learn.settings import Aggregation

RING_DEGREE = 8  # neighbours of each partner when more than 10 take part


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHead:
    """What a plan says besides the training.

    Args:
        name: Of the plan.
        version: From 1.
        valid_until: No round begins after that.
        coordinator: The partner that runs the server.
        tier: Whether the run waits for a lost partner, or goes on with those who are left.
    """

    name: str
    version: int
    valid_until: datetime
    coordinator: str
    tier: Tier = Tier.COMMIT_THEN_MASK


def recipe_digest(settings: ComparisonSettings) -> str:
    """Names how compounds and targets become numbers; the code that does it has its own digest in the plan."""
    letters: dict[str, Json] = {"proteins": ALPHABET, "smiles": SMILES_ALPHABET}
    return digest_json({"dataset": settings.dataset, "graphs": "graphdta", "letters": letters})


def partner_digest(shared: SharedOut, partner: int) -> str:
    """SHA-256 over the data set and the rows of it that a partner owns; what the partner's commitment is to."""
    rows = np.flatnonzero(shared.partition.owner == partner).astype("<i8")
    return hashlib.sha256(shared.digest.encode() + rows.tobytes()).hexdigest()


def n_colluders(n_partners: int) -> int:
    """Partners that may help the server without learning another's update: one, or with two partners none."""
    return 0 if n_partners == 2 else 1


def draft_plan(
    settings: ComparisonSettings,
    agreement: Agreement,
    head: PlanHead,
    commitments: Mapping[str, str],
    code: CodeIdentity,
) -> RunPlan:
    """The plan of a comparison's federated arm, not approved by anybody yet.

    Args:
        settings: Of the comparison, with one seed.
        agreement: In force.
        head: Name, end and coordinator.
        commitments: By partner, to its share of the data.
        code: That runs.

    Raises:
        OptionError: Several seeds: each shares the data out anew, and is a plan of its own.
        TermsError: A plan that nobody could run.
    """
    if len(settings.seeds) != 1:
        raise OptionError(f"a plan has one seed, got {len(settings.seeds)}; write one for each")
    terms = agreement.terms
    return RunPlan(
        consortium=terms.consortium,
        agreement_version=agreement.version,
        agreement=agreement.digest,
        name=head.name,
        version=head.version,
        valid_until=head.valid_until,
        coordinator=head.coordinator,
        datasets=tuple(PlanDataset(partner=name, commitment=commitments[name]) for name in sorted(commitments)),
        recipe=recipe_digest(settings),
        reference_set=None,
        model=settings.local.model,
        model_settings=_listed(_model_settings(settings)),
        method=str(settings.method),
        method_settings=_listed(_method_settings(settings)),
        n_rounds=settings.schedule.rounds,
        seed=settings.seeds[0],
        aggregation=secure_terms(
            settings.n_partners,
            required=settings.aggregation is Aggregation.SECURE,
            tier=head.tier,
            n_colluders_asked=terms.plan_rules.n_colluders,
        ),
        privacy_budget=None,
        code=code,
        metrics=terms.metrics,
        deliveries=agreed_deliveries(agreement),
    )


def agreed_deliveries(agreement: Agreement) -> tuple[Delivery, ...]:
    """The report to every partner, and the shared trunk to its recipients, if there are any."""
    terms = agreement.terms
    report = Delivery(what=ResourceKind.REPORT, partners=terms.ids)
    if not terms.trunk_recipients:
        return (report,)
    return (report, Delivery(what=ResourceKind.SHARED_TRUNK, partners=terms.trunk_recipients))


def require_planned(settings: ComparisonSettings, plan: RunPlan) -> None:
    """Refuses a command that is not the one that the plan's partners approved.

    Raises:
        RefusedError: Updates would be seen by the server, where the plan asks for secure sums.
        OptionError: Another value; names the first field that differs.
    """
    if plan.requires_secure_sums and settings.aggregation is Aggregation.PLAIN:
        raise RefusedError(
            f"{plan.label}, version {plan.version} asks for secure sums, so --aggregation plain is refused; run it "
            f"with --aggregation secure, or have another plan approved"
        )
    for field, planned, given in _pairs(settings, plan):
        if planned != given:
            raise OptionError(
                f"{plan.label}, version {plan.version} has {field} {planned}, this command {given}; give the plan's "
                f"value, or have another version of it approved"
            )


def _pairs(settings: ComparisonSettings, plan: RunPlan) -> Iterator[tuple[str, object, object]]:
    """(field, what the plan says, what the command says)."""
    yield "partners", len(plan.partners), settings.n_partners
    yield "seeds", (plan.seed,), settings.seeds
    yield "rounds", plan.n_rounds, settings.schedule.rounds
    yield "model", plan.model, settings.local.model.value
    yield "method", plan.method, str(settings.method)
    for planned, given in (
        (plan.model_settings, _model_settings(settings)),
        (plan.method_settings, _method_settings(settings)),
    ):
        named = {setting.name: setting.value for setting in planned}
        for name in sorted({*named, *given}):
            yield name, named.get(name, "no value"), given.get(name, "none")
    yield "secure aggregation", plan.aggregation.required, settings.aggregation is Aggregation.SECURE
    yield "tier of secure aggregation", plan.aggregation.tier.value, Tier.COMMIT_THEN_MASK.value
    yield "weight bits", plan.aggregation.weight_bits, MAX_WEIGHT_BITS
    yield "privacy budget", plan.privacy_budget, None
    yield "recipe", plan.recipe, recipe_digest(settings)


def secure_terms(n_partners: int, *, required: bool, tier: Tier, n_colluders_asked: int) -> SecureTerms:
    """How so many partners' updates are summed.

    Args:
        n_partners: That take part.
        required: Whether a party refuses to contribute in the clear.
        tier: What a lost partner costs.
        n_colluders_asked: Partners, at least, from whom and the server an update stays hidden.
    """
    return SecureTerms(
        required=required,
        n_colluders=max(n_colluders(n_partners), n_colluders_asked),
        ring_degree=RING_DEGREE,
        tier=tier,
        weight_bits=MAX_WEIGHT_BITS,
    )


def _model_settings(settings: ComparisonSettings) -> dict[str, Scalar]:
    return {"norm": settings.local.norm.value}


def _method_settings(settings: ComparisonSettings) -> dict[str, Scalar]:
    local = settings.local
    return {
        "batch-size": local.batch_size,
        "dataset": settings.dataset,
        "learning-rate": local.learning_rate,
        "local-epochs": local.local_epochs,
        "optimiser": local.optimiser.value,
        "partition": str(settings.scenario),
        "patience": settings.schedule.patience,
        "split": settings.split.value,
    }


def _listed(values: Mapping[str, Scalar]) -> tuple[Setting, ...]:
    return tuple(Setting(name=name, value=values[name]) for name in sorted(values))
