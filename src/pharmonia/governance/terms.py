"""What partners agree on, as data: roles, rights, thresholds, and what every plan must hold; and how a no is said."""

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pharmonia.base.errors import RefusedError, TermsError
from pharmonia.governance.documents import require_digest, require_id, require_sorted, require_text, require_time
from pharmonia.governance.documents_lookalikes import require_distinct, require_one_script

MAX_PARTNERS = 255  # as in secure aggregation
MAX_NAME, MAX_PURPOSE = 80, 2000
RESERVED_IDS = frozenset({"server"})


class Role(StrEnum):
    """What a partner is in the consortium; it may be several, and signs as the first of its roles."""

    DATA_OWNER = "data-owner"  # brings measurements; approves plans
    COORDINATOR = "coordinator"  # runs the server; sees sums only
    MODEL_DEVELOPER = "model-developer"  # proposes models and plans
    AUDITOR = "auditor"  # inspects records, decides nothing
    OBSERVER = "observer"  # reads reports, decides nothing


DECIDING = frozenset({Role.DATA_OWNER, Role.COORDINATOR, Role.MODEL_DEVELOPER})


class Action(StrEnum):
    """What somebody wants to do."""

    PROCESS = "process"
    TRAIN_ON = "train-on"
    EVALUATE_ON = "evaluate-on"
    DOWNLOAD = "download"
    EXPORT = "export"  # take outside the consortium
    PUBLISH = "publish"
    AUDIT = "audit"  # inspect the record of it: digests, times, who; never its content


class ResourceKind(StrEnum):
    """What somebody wants to do it with."""

    DATASET = "dataset"
    PRIVATE_HEAD = "private-head"
    SHARED_TRUNK = "shared-trunk"
    PREDICTIONS = "predictions"
    REPORT = "report"
    LEDGER = "ledger"


EXPORTABLE = frozenset(set(ResourceKind) - {ResourceKind.DATASET, ResourceKind.PRIVATE_HEAD})


class Credit(StrEnum):
    """By what the partners' contribution is credited."""

    EQUAL = "equal"
    ROWS = "rows"  # in proportion to training rows
    GAIN = "gain"  # by how much the others' gain falls without a partner


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyBudget:
    """(epsilon, delta) of differential privacy that a run may spend per partner.

    Raises:
        TermsError: An epsilon that is not above 0, or a delta that is not between 0 and 1.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon > 0 and 0 < self.delta < 1):
            raise TermsError(f"a privacy budget has epsilon above 0 and delta between 0 and 1, got {self}")

    def covers(self, spent: "PrivacyBudget") -> bool:
        """Whether another budget is no larger in either part."""
        return spent.epsilon <= self.epsilon and spent.delta <= self.delta


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRules:
    """What every plan must hold.

    Args:
        secure_aggregation: Whether the coordinator may see nothing but sums.
        n_colluders: Partners, at least, from whom and the server together each update stays hidden.
        privacy_budget: The most that a run may spend; None if none is asked for.
        code_digest: Whether the plan must name the code that may run.

    Raises:
        TermsError: Colluders without secure aggregation, or fewer than none.
    """

    secure_aggregation: bool
    n_colluders: int
    privacy_budget: PrivacyBudget | None
    code_digest: bool

    def __post_init__(self) -> None:
        if self.n_colluders < 0 or (self.n_colluders and not self.secure_aggregation):
            raise TermsError(
                f"colluders are counted from 0 and guarded against only by secure aggregation, got {self.n_colluders}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """How many partners it takes; each counts once, whatever its number of keys.

    Args:
        agreement: Deciding partners (data owners, coordinators, model developers) who sign a version.
        plan: Data owners who approve a plan.
        checkpoint: Partners who cross-sign a checkpoint of the ledger.
    """

    agreement: int
    plan: int
    checkpoint: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """An organisation of the consortium.

    Args:
        id: Lower-case ASCII letters, digits and hyphens.
        name: As people write it.
        roles: At least one, each once.
        may_export: What it may take outside, of results that it may have; sorted.

    Raises:
        TermsError: A field that cannot be so.
    """

    id: str
    name: str
    roles: tuple[Role, ...]
    may_export: tuple[ResourceKind, ...]

    def __post_init__(self) -> None:
        require_id(self.id, "a partner's id")
        if self.id in RESERVED_IDS:
            raise TermsError(f"a partner cannot have the id {self.id}: it names the server that partners connect to")
        require_text(self.name, f"the name of {self.id}", MAX_NAME)
        require_one_script(self.name, f"the name of {self.id}")
        require_sorted(self.may_export, f"what {self.id} may export")
        if list(self.roles) != [role for role in Role if role in self.roles] or not self.roles:
            raise TermsError(f"{self.id}: expected roles once each, in the order {', '.join(Role)}, got {self.roles}")
        if not EXPORTABLE.issuperset(self.may_export):
            raise TermsError(
                f"{self.id}: a private head is exported by nobody, and a data set by its owner as it likes; "
                f"leave them out of what it may export"
            )

    @property
    def decides(self) -> bool:
        """Whether its signature counts towards a version of the agreement."""
        return not DECIDING.isdisjoint(self.roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the partners agree on, without their keys.

    Args:
        consortium: Its identifier; never changes.
        title: As people write it.
        purpose: What the data may be used for.
        valid_until: When the agreement ends.
        thresholds: How many partners it takes.
        min_cohort: Fewest data owners that a plan may train with.
        plan_rules: What every plan must hold.
        trunk_recipients: Who receives the shared trunk; sorted ids.
        publishable: What may be made public at all; sorted.
        metrics: By which models are judged; sorted names.
        credit: How contribution is credited.
        partners: Sorted by id.

    Raises:
        TermsError: Terms that nobody could keep; names the field.

    Guarantees:
        look_alike_partners_are_refused: No two identifiers or names can be taken for one another.
    """

    consortium: str
    title: str
    purpose: str
    valid_until: datetime
    thresholds: Thresholds
    min_cohort: int
    plan_rules: PlanRules
    trunk_recipients: tuple[str, ...]
    publishable: tuple[ResourceKind, ...]
    metrics: tuple[str, ...]
    credit: Credit
    partners: tuple[Partner, ...]

    def __post_init__(self) -> None:
        require_id(self.consortium, "the consortium's id")
        require_text(self.title, "the consortium's title", MAX_NAME)
        require_text(self.purpose, "the purpose", MAX_PURPOSE)
        require_time(self.valid_until, "the end of the agreement")
        require_sorted(self.ids, "the partners")
        require_distinct({partner.id: (partner.id, partner.name) for partner in self.partners}, self.consortium)
        require_sorted(self.trunk_recipients, "recipients of the trunk")
        require_sorted(self.publishable, "what may be published")
        require_sorted(self.metrics, "the metrics")
        for metric in self.metrics:
            require_id(metric, "a metric")
        if not set(self.ids).issuperset(self.trunk_recipients) or not self.metrics:
            raise TermsError(
                f"recipients of the trunk are partners, and some metric judges; got {self.trunk_recipients}"
            )
        if not EXPORTABLE.issuperset(self.publishable):
            raise TermsError("data sets and private heads are not published; leave them out of what may be")

    def require_complete(self) -> None:
        """Refuses terms that are a draft still: an agreement's partners can fill its roles and reach its thresholds.

        Raises:
            TermsError: They cannot; names the number.
        """
        if not 2 <= len(self.data_owners) <= MAX_PARTNERS or len(self.ids) > MAX_PARTNERS:
            raise TermsError(f"a consortium has 2 data owners or more, and at most {MAX_PARTNERS} partners")
        if not any(Role.COORDINATOR in partner.roles for partner in self.partners):
            raise TermsError("a consortium has a coordinator; give a partner that role")
        n_deciding, n_owners = len(self.deciding), len(self.data_owners)
        if not n_deciding / 2 < self.thresholds.agreement <= n_deciding:
            raise TermsError(f"an agreement takes more than half of the {n_deciding} deciding partners, at most all")
        if not n_owners / 2 < self.thresholds.plan <= n_owners:
            raise TermsError(f"a plan takes more than half of the {n_owners} data owners, at most all")
        if not 1 <= self.thresholds.checkpoint <= len(self.ids):
            raise TermsError(f"a checkpoint takes 1 to {len(self.ids)} partners, got {self.thresholds.checkpoint}")
        if not 2 <= self.min_cohort <= n_owners:
            raise TermsError(f"the minimum cohort is 2 to {n_owners} data owners, got {self.min_cohort}")
        if self.plan_rules.n_colluders > self.min_cohort - 2:
            raise TermsError(
                f"{self.min_cohort} partners cannot hide an update from {self.plan_rules.n_colluders} of them and the "
                f"server; raise the minimum cohort or guard against fewer"
            )

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all partners, sorted."""
        return tuple(partner.id for partner in self.partners)

    @property
    def data_owners(self) -> tuple[str, ...]:
        """Ids of those that bring data, sorted."""
        return tuple(partner.id for partner in self.partners if Role.DATA_OWNER in partner.roles)

    @property
    def deciding(self) -> tuple[str, ...]:
        """Ids of those whose signatures count towards a version, sorted."""
        return tuple(partner.id for partner in self.partners if partner.decides)

    def partner(self, partner_id: str) -> Partner | None:
        """The partner of that id; None for strangers."""
        return next((partner for partner in self.partners if partner.id == partner_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeIdentity:
    """The code that runs.

    Args:
        package: SHA-256 over the files of the installed package.
        environment: SHA-256 over Python's version and those of the packages it stands on.

    Raises:
        TermsError: Not digests.
    """

    package: str
    environment: str

    def __post_init__(self) -> None:
        require_digest(self.package, "the digest of the package")
        require_digest(self.environment, "the digest of the environment")


class RefusalCode(StrEnum):
    """Why not: a closed list, so that a ledger can hold it."""

    UNKNOWN_PARTNER = "unknown-partner"
    AGREEMENT_ENDED = "agreement-ended"
    MEANINGLESS = "meaningless"  # no such action on such a resource
    NOT_OWNER = "not-owner"
    NEVER_LEAVES = "never-leaves"
    ROLE = "role"
    NOT_RECIPIENT = "not-recipient"
    NOT_EXPORTABLE = "not-exportable"
    NOT_PUBLISHABLE = "not-publishable"
    INPUT = "input"  # of a result, is not allowed for it
    NOT_GRANTED = "not-granted"  # by a partner's own policy
    GRANT_EXPIRED = "grant-expired"
    GRANT_REVOKED = "grant-revoked"
    POLICY_EXPIRED = "policy-expired"
    OTHER_AGREEMENT = "other-agreement"  # than the one in force
    PLAN_EXPIRED = "plan-expired"
    PLAN_NOT_APPROVED = "plan-not-approved"
    CODE_DIFFERS = "code-differs"
    PLAIN_AGGREGATION = "plain-aggregation"
    TOO_FEW_PARTNERS = "too-few-partners"
    PRIVACY_BUDGET = "privacy-budget"
    METRIC = "metric"
    DATASET = "dataset"
    RECIPE = "recipe"  # data prepared under another one


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Yes, under this version of the agreement."""

    document: str
    version: int

    def require(self) -> None:
        """Nothing: it is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No, and why.

    Args:
        code: From the closed list.
        document: What forbids it, such as `agreement of pharma-x`.
        version: Of that document.
        reason: For people.
        remedy: What would change it.
    """

    code: RefusalCode
    document: str
    version: int
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.document}, version {self.version}: {self.reason}; {self.remedy}"

    def require(self) -> None:
        """Raises what was refused.

        Raises:
            RefusedError: Always.
        """
        raise RefusedError(str(self))


Decision = Allowed | Refused
