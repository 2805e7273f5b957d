"""What the events of a ledger must say together: a pass that keeps only what is still standing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pharmonia.governance.agreement import Agreement, KeyState
from pharmonia.governance.documents_signed import CLOCK_SKEW
from pharmonia.governance.events import (
    OUTSIDE,
    PUBLIC,
    AgreementAdopted,
    Evaluated,
    Event,
    Exporting,
    PlanApproved,
    PlanFiled,
    Revocable,
    Revoked,
    RoundAggregated,
    RoundOpened,
)
from pharmonia.governance.identity import PublicKey
from pharmonia.governance.permissions import Resource, decide
from pharmonia.governance.plan import RunPlan
from pharmonia.governance.terms import DECIDING, Action, Refused, ResourceKind, Role
from pharmonia.governance.verify_result import Check, Findings

MAX_STANDING = 10_000  # plans, and sessions, of one agreement version
_OWNED = frozenset({ResourceKind.DATASET, ResourceKind.PRIVATE_HEAD, ResourceKind.PREDICTIONS})


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the agreement, laid out for looking up.

    Args:
        agreement: The version.
        keys: The keys that sign while it is in force, by id.
        owners: The partners of those keys.
        ends: When each key ends.
        roles: Of each partner.
        data_owners: Ids.
    """

    agreement: Agreement
    keys: Mapping[str, PublicKey]
    owners: Mapping[str, str]
    ends: Mapping[str, datetime]
    roles: Mapping[str, frozenset[Role]]
    data_owners: frozenset[str]

    @staticmethod
    def of(agreement: Agreement) -> "Version":
        """The version of an agreement."""
        active = [key for key in agreement.keys if key.state is KeyState.ACTIVE]
        return Version(
            agreement=agreement,
            keys={key.public.key_id: key.public for key in active},
            owners={key.public.key_id: key.partner for key in active},
            ends={key.public.key_id: key.valid_until for key in active},
            roles={partner.id: frozenset(partner.roles) for partner in agreement.terms.partners},
            data_owners=frozenset(agreement.terms.data_owners),
        )


@dataclass(slots=True)
class _Session:
    plan: str
    last_round: int
    contributors: frozenset[str] | None  # of the round that is open, if one is


@dataclass(slots=True)
class Rules:
    """Where a ledger stands: the version in force, plans, who approves them, and the open round of each session."""

    versions: Sequence[Version]
    documents: Mapping[str, RunPlan]  # plans that the auditor holds, by digest
    now: datetime
    findings: Findings
    version: Version = field(init=False)  # in force; the founding one before any was named
    judging: Version = field(init=False)  # whose keys signed the entry at hand
    n_adopted: int = 0
    latest: datetime | None = None
    plans: set[str] = field(default_factory=set)  # that were filed under this version
    approvals: dict[str, set[str]] = field(default_factory=dict)  # the plans that each partner approves
    sessions: dict[str, _Session] = field(default_factory=dict)
    was_trained: bool = False  # an aggregate stands on the ledger
    trained: set[str] = field(default_factory=set)  # of the plans that the auditor holds, those with an aggregate
    models: dict[str, set[str]] = field(default_factory=dict)  # after rounds, of plans in documents
    filed: set[str] = field(default_factory=set)  # of the same, those that stand on the ledger

    def __post_init__(self) -> None:
        self.version = self.judging = self.versions[0]

    def check_time(self, at: datetime, where: str) -> None:
        """Times of different clocks may be five minutes apart, no more."""
        if self.latest is not None and at < self.latest - CLOCK_SKEW:
            self.findings.add(Check.TIMED, where, f"states {at}, after an entry that states {self.latest}")
        if self.check_not_ahead(at, where) and (self.latest is None or at > self.latest):
            self.latest = at

    def check_not_ahead(self, at: datetime, where: str) -> bool:
        """Whether a time has come, by a clock that may be five minutes ahead of ours."""
        self.findings.count(Check.TIMED)
        if at > self.now + CLOCK_SKEW:
            self.findings.add(Check.TIMED, where, f"states {at}, which has not come; it is {self.now}")
            return False
        return True

    def apply(self, event: Event, author: str, at: datetime, where: str) -> None:
        """Check one event of a partner and take account of it."""
        match event:
            case RoundOpened():
                self._open(event, author, at, where)
            case RoundAggregated():
                self._aggregate(event, author, where)
            case AgreementAdopted():
                self._adopt(event, author, where)
            case PlanFiled():
                self._file(event, author, where)
            case PlanApproved():
                self._approve(event, author, where)
            case Revoked():
                self._revoke(event, author)
            case Evaluated():
                self._require_role(author, DECIDING, "records an evaluation", where)
                self._require_filed(event.plan, "an evaluation of", where)
            case Exporting():
                self._export(event, author, at, where)
            case _:  # a refusal, a policy or a failure: anybody may state its own
                pass

    def _adopt(self, event: AgreementAdopted, author: str, where: str) -> None:
        self._require_role(author, DECIDING, "puts an agreement in force", where, self.judging)
        self.findings.count(Check.SEQUENCE)
        self.findings.count(Check.AGREED)
        if event.version != self.n_adopted + 1:
            what = f"puts version {event.version} in force; {self.n_adopted + 1} is next"
            self.findings.add(Check.SEQUENCE, where, what)
            return
        if event.version > len(self.versions):
            what = f"version {event.version} is not in the agreement given, which has {len(self.versions)}: ask for it"
            self.findings.add(Check.AGREED, where, what)
            return
        if event.agreement != self.versions[self.n_adopted].agreement.digest:
            self.findings.add(Check.AGREED, where, f"version {event.version} is not the one that the partners signed")
        self.version = self.versions[self.n_adopted]
        self.n_adopted += 1
        self.plans.clear()  # a plan is for one version; approvals do not outlive it
        self.approvals.clear()
        self.sessions.clear()

    def _file(self, event: PlanFiled, author: str, where: str) -> None:
        self._require_role(author, DECIDING, "files a plan", where)
        self.findings.count(Check.SEQUENCE)
        if self.n_adopted == 0:
            self.findings.add(Check.SEQUENCE, where, "files a plan before any agreement is in force")
        if event.plan in self.plans:
            self.findings.add(Check.SEQUENCE, where, f"files the plan {event.plan} again")
        elif len(self.plans) >= MAX_STANDING:
            self.findings.add(Check.SEQUENCE, where, f"more than {MAX_STANDING} plans under one version")
        else:
            self.plans.add(event.plan)
            self.filed |= {event.plan} & self.documents.keys()

    def _approve(self, event: PlanApproved, author: str, where: str) -> None:
        self._require_role(author, frozenset({Role.DATA_OWNER}), "approves a plan", where)
        self._require_filed(event.plan, "an approval of", where)
        if event.plan in self.plans:
            self.approvals.setdefault(author, set()).add(event.plan)

    def _revoke(self, event: Revoked, author: str) -> None:
        """A revoked approval lapses; a revoked data set makes all approvals of its owner lapse, until given again."""
        if event.what is Revocable.DATASET:
            self.approvals.pop(author, None)
        else:
            self.approvals.get(author, set()).discard(event.subject)

    def _open(self, event: RoundOpened, author: str, at: datetime, where: str) -> None:
        self._require_role(author, frozenset({Role.COORDINATOR}), "opens a round", where)
        self._require_filed(event.plan, "a round of", where)
        self._require_approved(event, at, where)
        self._require_planned(event, author, at, where)
        session = self.sessions.get(event.session)
        if session is None and len(self.sessions) >= MAX_STANDING:
            self.findings.add(Check.SEQUENCE, where, f"more than {MAX_STANDING} sessions under one version")
            return
        if session is not None and (session.plan != event.plan or event.round_index <= session.last_round):
            what = f"round {event.round_index} comes after {session.last_round} of the plan {session.plan}"
            self.findings.add(Check.SEQUENCE, where, what)
        self.sessions[event.session] = _Session(event.plan, event.round_index, frozenset(event.contributors))

    def _require_approved(self, event: RoundOpened, at: datetime, where: str) -> None:
        self.findings.count(Check.APPROVED)
        terms = self.version.agreement.terms
        approving = {one for one in self.version.data_owners if event.plan in self.approvals.get(one, ())}
        if len(approving) < terms.thresholds.plan:
            what = f"{len(approving)} data owners approve the plan {event.plan}; {terms.thresholds.plan} must"
            self.findings.add(Check.APPROVED, where, what)
        if at > terms.valid_until:
            self.findings.add(Check.APPROVED, where, f"the agreement ended {terms.valid_until}")
        partners = self._require_cohort(event.contributors, where)
        lacking = sorted(partners - approving)
        if lacking:
            what = f"{', '.join(lacking)} contributed without a standing approval of the plan {event.plan}"
            self.findings.add(Check.APPROVED, where, what)

    def _require_planned(self, event: RoundOpened, author: str, at: datetime, where: str) -> None:
        plan = self.documents.get(event.plan)
        if plan is None:
            return
        self.findings.count(Check.PLANNED)
        partners = {self.version.owners.get(key, key) for key in event.contributors}
        reasons = [
            (author != plan.coordinator, f"{author} opens a round that {plan.coordinator} should"),
            (at > plan.valid_until, f"the plan ended {plan.valid_until}"),
            (plan.agreement != self.version.agreement.digest, "the plan is for another version of the agreement"),
            (not partners <= set(plan.partners), "contributors whose data the plan does not name"),
        ]
        for is_broken, reason in reasons:
            if is_broken:
                self.findings.add(Check.PLANNED, where, f"{plan.label}, version {plan.version}: {reason}")

    def _require_cohort(self, contributors: Sequence[str], where: str) -> set[str]:
        """The partners of these keys, checked to be enough data owners."""
        self.findings.count(Check.COHORT)
        owners, terms = self.version.owners, self.version.agreement.terms
        partners = {owners[key] for key in contributors if key in owners}
        strange = sorted(set(contributors).difference(owners))
        if strange:
            self.findings.add(Check.COHORT, where, f"the contributors {', '.join(strange)} have no active key")
        others = sorted(partners - self.version.data_owners)
        if others:
            self.findings.add(Check.COHORT, where, f"{', '.join(others)} contributed but is no data owner")
        if len(partners) < terms.min_cohort:
            self.findings.add(Check.COHORT, where, f"{len(partners)} partners contributed; {terms.min_cohort} must")
        return partners

    def _aggregate(self, event: RoundAggregated, author: str, where: str) -> None:
        self._require_role(author, frozenset({Role.COORDINATOR}), "records an aggregate", where)
        self.findings.count(Check.SEQUENCE)
        session = self.sessions.get(event.session)
        if session is None or session.contributors is None or session.last_round != event.round_index:
            what = f"an aggregate of round {event.round_index}, which is not open in session {event.session}"
            self.findings.add(Check.SEQUENCE, where, what)
            return
        if not session.contributors.issuperset(event.contributors):
            self.findings.add(Check.COHORT, where, "the aggregate has contributors that the round had not")
        self._require_cohort(event.contributors, where)
        self._require_rounds(session.plan, event.aggregate, where)
        session.contributors = None
        self.was_trained = True
        self.trained |= {session.plan} & self.documents.keys()

    def _require_rounds(self, digest: str, aggregate: str, where: str) -> None:
        """No more models than the plan has rounds; one that is made again after a fault is the same: it counts once."""
        plan = self.documents.get(digest)
        if plan is None:
            return
        models = self.models.setdefault(digest, set())
        if aggregate not in models and len(models) >= plan.n_rounds:
            what = f"{plan.label}, version {plan.version}: one model more than its {plan.n_rounds} rounds give"
            self.findings.add(Check.PLANNED, where, what)
        else:
            models.add(aggregate)

    def _export(self, event: Exporting, author: str, at: datetime, where: str) -> None:
        self.findings.count(Check.EXPORTS)
        agreement = self.version.agreement
        actor, action = author, Action.EXPORT
        if event.recipient == PUBLIC:
            action = Action.PUBLISH
        elif event.recipient != OUTSIDE:
            actor, action = self.version.owners.get(event.recipient, ""), Action.DOWNLOAD
        if not actor:
            self.findings.add(Check.EXPORTS, where, f"to {event.recipient}, which is no partner's active key")
            return
        if event.what is ResourceKind.SHARED_TRUNK and not self._may_hand_over(author):
            what = f"{author} hands over the shared trunk; this is for coordinator and recipients of the trunk"
            self.findings.add(Check.EXPORTS, where, what)
            return
        decision = decide(agreement, {}, actor, action, _resource(event, author, agreement), at)
        if isinstance(decision, Refused):
            self.findings.add(Check.EXPORTS, where, str(decision))

    def why_not_handed_over(self, event: Exporting, author: str) -> str:
        """Why a record is not that of a model that the consortium trained and handed over; empty if it is.

        It names no plan: with plans at hand, one of them must have been trained, and give its model to the recipient.
        """
        if not self._may_hand_over(author):
            return f"{author} may not have the shared trunk, and is no coordinator"
        if not self.was_trained:
            return "no aggregate of a round stands before it"
        is_outside = event.recipient in (OUTSIDE, PUBLIC)  # who hands it on must have got it
        holder = author if is_outside else self.version.owners.get(event.recipient, event.recipient)
        plans = [self.documents[digest] for digest in self.trained]
        if self.documents and not any(holder in plan.recipients(ResourceKind.SHARED_TRUNK) for plan in plans):
            return f"none of the plans given that was trained before gives its model to {holder}"
        return ""

    def _may_hand_over(self, author: str) -> bool:
        recipients = self.version.agreement.terms.trunk_recipients
        return author in recipients or Role.COORDINATOR in self.version.roles.get(author, frozenset())

    def check_documents(self) -> None:
        """Plans that the auditor holds are plans of this ledger."""
        for digest, plan in self.documents.items():
            self.findings.count(Check.PLANNED)
            if digest not in self.filed:
                what = f"the ledger never names the plan {digest}, so no round was held to it; ask for the one that ran"
                self.findings.add(Check.PLANNED, f"{plan.label}, version {plan.version}", what)

    def _require_role(
        self, author: str, allowed: frozenset[Role], deed: str, where: str, by: Version | None = None
    ) -> None:
        self.findings.count(Check.ROLES)
        if allowed.isdisjoint((by or self.version).roles.get(author, frozenset())):
            self.findings.add(Check.ROLES, where, f"{author} {deed}; this is for {', '.join(sorted(allowed))}")

    def _require_filed(self, plan: str, deed: str, where: str) -> None:
        self.findings.count(Check.SEQUENCE)
        if plan not in self.plans:
            self.findings.add(Check.SEQUENCE, where, f"{deed} the plan {plan}, which was not filed under this version")


def _resource(event: Exporting, author: str, agreement: Agreement) -> Resource:
    """What was exported; a trunk stands for all data owners' data, of which nothing here depends."""
    inputs: tuple[Resource, ...] = ()
    if event.what is ResourceKind.SHARED_TRUNK:
        owners = agreement.terms.data_owners
        inputs = tuple(Resource(kind=ResourceKind.DATASET, name="any", owner=owner) for owner in owners)
    owner = author if event.what in _OWNED else None
    return Resource(kind=event.what, name=event.content, owner=owner, inputs=inputs)
