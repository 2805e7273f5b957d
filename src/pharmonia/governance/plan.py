"""The plan of a run: everything that changes a result, approved by data owners; its bytes and its digest."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import isfinite

from pharmonia.base.canonical import Json
from pharmonia.base.errors import AgreementError, DocumentError, TermsError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.agreement_history import check_signature
from pharmonia.governance.documents import (
    document_digest,
    require_digest,
    require_id,
    require_sorted,
    require_text,
    require_time,
    time_text,
)
from pharmonia.governance.documents_signed import Domain, Signature, require_past, sign_digest, with_signature
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.permissions import Resource
from pharmonia.governance.terms import CodeIdentity, PrivacyBudget, ResourceKind, Role
from pharmonia.governance.terms_codec import budget_json

FORMAT = "pharmonia/plan/v1"
MAX_ROUNDS, MAX_VERSION, MAX_SEED, MAX_SETTINGS = 1_000_000, 10_000, 2**32 - 1, 200
MAX_RING_DEGREE, MAX_WEIGHT_BITS = 255, 24  # as in secure aggregation
MAX_TEXT = 80
Scalar = bool | int | float | str


class Tier(StrEnum):
    """What a lost partner costs in secure aggregation."""

    COMMIT_THEN_MASK = "commit-then-mask"  # the step
    DROPOUT_TOLERANT = "dropout-tolerant"  # kilobytes and a second exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureTerms:
    """How updates are summed.

    Args:
        required: Whether the coordinator sees nothing but sums; if not, the other fields mean nothing.
        n_colluders: Partners from whom and the server together each update stays hidden.
        ring_degree: Neighbours of each partner when more than 10 take part; even.
        tier: What a lost partner costs.
        weight_bits: Weights are at most 2^weight_bits.

    Raises:
        TermsError: A number out of range.
    """

    required: bool
    n_colluders: int
    ring_degree: int
    tier: Tier
    weight_bits: int

    def __post_init__(self) -> None:
        ring = self.ring_degree % 2 == 0 and max(0, self.n_colluders) < self.ring_degree <= MAX_RING_DEGREE
        if self.n_colluders < 0 or not ring or not 1 <= self.weight_bits <= MAX_WEIGHT_BITS:
            raise TermsError(
                f"secure aggregation takes 0 colluders or more, an even ring degree above that and 1 to "
                f"{MAX_WEIGHT_BITS} weight bits, got {self.n_colluders}, {self.ring_degree} and {self.weight_bits}"
            )


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PlanDataset:
    """A data set by its commitment (`CommitmentKey.commit`), which says nothing to others.

    Raises:
        TermsError: Not an id and 64 hexadecimal digits.
    """

    partner: str
    commitment: str

    def __post_init__(self) -> None:
        require_id(self.partner, "the owner of a data set")
        require_digest(self.commitment, f"the commitment to a data set of {self.partner}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A named number, word or switch of model or training.

    Raises:
        TermsError: A name that is none, a number that is not finite, or text that is too long.
    """

    name: str
    value: Scalar

    def __post_init__(self) -> None:
        require_id(self.name, "a setting")
        if isinstance(self.value, str):
            require_text(self.value, f"the setting {self.name}", MAX_TEXT)
        elif abs(self.value) > 2**53 or not isfinite(self.value):
            raise TermsError(f"the setting {self.name} must be finite and at most 2^53, got {self.value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Who gets one of the results.

    Args:
        what: The shared trunk or the report; nothing else is handed out by a plan.
        partners: Sorted ids, at least one.

    Raises:
        TermsError: Another kind, or no partners.
    """

    what: ResourceKind
    partners: tuple[str, ...]

    def __post_init__(self) -> None:
        require_sorted(self.partners, f"who gets the {self.what}")
        for partner in self.partners:
            require_id(partner, f"who gets the {self.what}")
        if self.what not in {ResourceKind.SHARED_TRUNK, ResourceKind.REPORT} or not self.partners:
            raise TermsError(f"a plan hands out the trunk and the report, each to somebody, got {self.what}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Everything that changes a result; what changes only speed is not in it.

    Args:
        consortium: Its identifier.
        agreement_version: Of the agreement under which it runs.
        agreement: Digest of that version.
        name: Of the plan, an identifier.
        version: Of the plan, from 1; every change needs another, and new approvals.
        valid_until: No round begins after that.
        coordinator: The partner that runs the server.
        datasets: Sorted.
        recipe: Digest of how compounds and targets become numbers.
        reference_set: Digest of the public set that all partners' preparations were compared on; None if there is none.
        model: Its name.
        model_settings: Sorted by name.
        method: How partners' steps become one, such as `fedavg+private-head`.
        method_settings: Sorted by name; split, optimiser, learning rate and the like.
        n_rounds: At most.
        seed: Of initialisation, shuffling and dropout.
        aggregation: How updates are summed.
        privacy_budget: What the run may spend; None without differential privacy.
        code: What runs; None where the agreement does not ask for it.
        metrics: By which the model is judged; sorted.
        deliveries: Who gets what; sorted, each kind once.

    Raises:
        TermsError: A plan that nobody could run; names the field.
    """

    consortium: str
    agreement_version: int
    agreement: str
    name: str
    version: int
    valid_until: datetime
    coordinator: str
    datasets: tuple[PlanDataset, ...]
    recipe: str
    reference_set: str | None
    model: str
    model_settings: tuple[Setting, ...]
    method: str
    method_settings: tuple[Setting, ...]
    n_rounds: int
    seed: int
    aggregation: SecureTerms
    privacy_budget: PrivacyBudget | None
    code: CodeIdentity | None
    metrics: tuple[str, ...]
    deliveries: tuple[Delivery, ...]

    def __post_init__(self) -> None:
        for text, what in ((self.consortium, "consortium"), (self.name, "name"), (self.coordinator, "coordinator")):
            require_id(text, f"the plan's {what}")
        for digest, what in (
            (self.agreement, "agreement"),
            (self.recipe, "recipe"),
            (self.reference_set, "references"),
        ):
            if digest is not None:
                require_digest(digest, f"{self.label}: the {what}")
        require_time(self.valid_until, f"the end of {self.label}")
        for text, what in ((self.model, "model"), (self.method, "method")):
            require_text(text, f"{self.label}: the {what}", MAX_TEXT)
        self._check_lists()
        self._check_numbers()

    def _check_lists(self) -> None:
        require_sorted([f"{one.partner} {one.commitment}" for one in self.datasets], f"{self.label}: data sets")
        for settings in (self.model_settings, self.method_settings):
            require_sorted([setting.name for setting in settings], f"{self.label}: settings")
        require_sorted([delivery.what for delivery in self.deliveries], f"{self.label}: deliveries")
        require_sorted(self.metrics, f"{self.label}: metrics")
        for metric in self.metrics:
            require_id(metric, f"{self.label}: a metric")
        if not self.datasets or not self.metrics or len(self.model_settings + self.method_settings) > MAX_SETTINGS:
            raise TermsError(f"{self.label}: expected data sets, metrics, and at most {MAX_SETTINGS} settings")

    def _check_numbers(self) -> None:
        counted = ((self.agreement_version, MAX_VERSION), (self.version, MAX_VERSION), (self.n_rounds, MAX_ROUNDS))
        if not all(1 <= number <= most for number, most in counted) or not 0 <= self.seed <= MAX_SEED:
            raise TermsError(f"{self.label}: versions and rounds are counted from 1, and a seed is 0 to {MAX_SEED}")
        if self.aggregation.required and len(self.partners) < self.aggregation.n_colluders + 2:
            raise TermsError(
                f"{self.label}: {len(self.partners)} partners cannot hide an update from "
                f"{self.aggregation.n_colluders} of them and the server"
            )

    @property
    def label(self) -> str:
        """For messages: `plan` and its name."""
        return f"plan {self.name}"

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name this version of the plan."""
        return document_digest(FORMAT, plan_json(self))

    @property
    def partners(self) -> tuple[str, ...]:
        """Those whose data sets it uses, sorted."""
        return tuple(sorted({dataset.partner for dataset in self.datasets}))

    @property
    def goes_on(self) -> bool:
        """Whether a run goes on without a partner that is lost, instead of waiting for it."""
        return self.aggregation.tier is Tier.DROPOUT_TOLERANT

    @property
    def requires_secure_sums(self) -> bool:
        """Whether a party must refuse to contribute in the clear."""
        return self.aggregation.required

    def recipients(self, what: ResourceKind) -> tuple[str, ...]:
        """Who gets the trunk or the report; sorted."""
        return next((delivery.partners for delivery in self.deliveries if delivery.what is what), ())

    def dataset_resources(self) -> tuple[Resource, ...]:
        """The data sets, as permissions see them."""
        kind = ResourceKind.DATASET
        return tuple(Resource(kind=kind, name=one.commitment, owner=one.partner) for one in self.datasets)

    def result(self, kind: ResourceKind) -> Resource:
        """The trunk or the report, as permissions see it: made from all data sets."""
        return Resource(kind=kind, name=self.name, inputs=self.dataset_resources())


def plan_json(plan: RunPlan) -> Json:
    """The body of a plan."""
    code, terms = plan.code, plan.aggregation
    return {
        "consortium": plan.consortium,
        "agreement_version": plan.agreement_version,
        "agreement": plan.agreement,
        "name": plan.name,
        "version": plan.version,
        "valid_until": time_text(plan.valid_until),
        "coordinator": plan.coordinator,
        "datasets": [{"partner": one.partner, "commitment": one.commitment} for one in plan.datasets],
        "recipe": plan.recipe,
        "reference_set": plan.reference_set,
        "model": plan.model,
        "model_settings": {setting.name: setting.value for setting in plan.model_settings},
        "method": plan.method,
        "method_settings": {setting.name: setting.value for setting in plan.method_settings},
        "n_rounds": plan.n_rounds,
        "seed": plan.seed,
        "aggregation": {
            "required": terms.required,
            "n_colluders": terms.n_colluders,
            "ring_degree": terms.ring_degree,
            "tier": terms.tier.value,
            "weight_bits": terms.weight_bits,
        },
        "privacy_budget": budget_json(plan.privacy_budget),
        "code": None if code is None else {"package": code.package, "environment": code.environment},
        "metrics": list(plan.metrics),
        "deliveries": [{"what": one.what.value, "partners": list(one.partners)} for one in plan.deliveries],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPlan:
    """A plan and its approvals, sorted by key."""

    plan: RunPlan
    signatures: tuple[Signature, ...]

    def approved_by(self, agreement: Agreement, now: datetime) -> frozenset[str]:
        """The data owners who approved it, every signature checked.

        Raises:
            DocumentError: A signature is not over these bytes.
            AgreementError: By a key that may not sign, in a role that its owner has not, or from the future.
        """
        document, digest = f"{self.plan.label}, version {self.plan.version}", self.plan.digest
        require_past(self.signatures, now, document)
        signers = [(check_signature(agreement, s, Domain.PLAN, digest, document), s.role) for s in self.signatures]
        return frozenset(partner for partner, role in signers if role is Role.DATA_OWNER)


def approve(signed: SignedPlan, agreement: Agreement, key: PrivateKey, now: datetime) -> SignedPlan:
    """The plan with the key's approval.

    Raises:
        AgreementError: The plan is of another version of the agreement, or the key may not sign.
    """
    plan = signed.plan
    if plan.agreement != agreement.digest:
        raise AgreementError(
            f"{plan.label}, version {plan.version} is of version {plan.agreement_version} of another agreement than "
            f"{agreement.name}, version {agreement.version}; write it anew for that one"
        )
    role = agreement.signing_role(agreement.key(key.public.key_id).partner)
    added = sign_digest(key, Domain.PLAN, plan.digest, role, now)
    return SignedPlan(plan=plan, signatures=with_signature(signed.signatures, added))


def merge_approvals(copies: Iterable[SignedPlan]) -> SignedPlan:
    """The plan with the approvals of all copies of it, at least one.

    Raises:
        DocumentError: The copies are not of one plan.
    """
    merged, *others = copies
    for copy in others:
        if copy.plan.digest != merged.plan.digest:
            raise DocumentError(f"{merged.plan.label}: a copy is of another plan or version; ask for the same bytes")
        for signature in copy.signatures:
            signatures = with_signature(merged.signatures, signature)
            merged = SignedPlan(plan=merged.plan, signatures=signatures)
    return merged
