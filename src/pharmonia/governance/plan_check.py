"""Whether a party may take part in a plan now: asked before a run, and again before every round."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pharmonia.base.errors import AgreementError, DocumentError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.documents import time_text
from pharmonia.governance.permissions import Resource, decide, refuse
from pharmonia.governance.plan import RunPlan, SignedPlan
from pharmonia.governance.policy import LocalPolicy
from pharmonia.governance.terms import (
    Action,
    Allowed,
    CodeIdentity,
    Decision,
    PrivacyBudget,
    RefusalCode,
    Refused,
    ResourceKind,
    Role,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What is judged: a plan, by a party, now."""

    signed: SignedPlan
    agreement: Agreement
    policy: LocalPolicy
    code: CodeIdentity
    now: datetime

    @property
    def plan(self) -> RunPlan:
        return self.signed.plan

    def by_plan(self, code: RefusalCode, reason: str, remedy: str) -> Refused:
        plan = self.plan
        return Refused(code=code, document=plan.label, version=plan.version, reason=reason, remedy=remedy)

    def by_agreement(self, code: RefusalCode, reason: str, remedy: str) -> Refused:
        return refuse(self.agreement, code, f"it forbids {self.plan.label}: {reason}", remedy)

    def by_policy(self, code: RefusalCode, reason: str, remedy: str) -> Refused:
        policy = self.policy
        return Refused(code=code, document=policy.name, version=policy.serial, reason=reason, remedy=remedy)


def check_plan(
    signed: SignedPlan, agreement: Agreement, policy: LocalPolicy, code_digest: CodeIdentity, now: datetime
) -> Decision:
    """Whether a data owner's party may take part in a plan, and if not, why.

    Args:
        signed: The plan and its approvals.
        agreement: In force (`AgreementHistory.current`).
        policy: The party's own, verified and newest; says who the party is.
        code_digest: Of the code that runs here (`run.codedigest.installed_code`).
        now: Against which ends and revocations are held.

    Guarantees:
        a_changed_plan_is_refused: Any change of a byte, after an approval.
        a_plan_that_we_did_not_approve_is_refused: Even if a threshold of others did.
        a_plan_for_other_code_is_refused: Package or environment.
        revocation_ends_the_next_round: By policy, agreement version or expiry.
    """
    case = _Case(signed=signed, agreement=agreement, policy=policy, code=code_digest, now=now)
    checks = (_agreement, _time, _approval, _code, _partners, _aggregation, _privacy, _metrics, _grants)
    for check in checks:
        for refused in check(case):
            return refused
    return Allowed(document=agreement.name, version=agreement.version)


def _agreement(case: _Case) -> Iterator[Refused]:
    plan, agreement = case.plan, case.agreement
    if plan.consortium != agreement.terms.consortium or plan.agreement != agreement.digest:
        yield case.by_plan(
            RefusalCode.OTHER_AGREEMENT,
            f"it is of {plan.consortium}, version {plan.agreement_version}; in force is the {agreement.name}, version "
            f"{agreement.version}",
            "have it written and approved for the version in force",
        )


def _time(case: _Case) -> Iterator[Refused]:
    if case.now > case.agreement.terms.valid_until:
        ended = time_text(case.agreement.terms.valid_until)
        yield case.by_agreement(RefusalCode.AGREEMENT_ENDED, f"the agreement ended {ended}", "amend it to go on")
    if case.now > case.plan.valid_until:
        ended = time_text(case.plan.valid_until)
        yield case.by_plan(RefusalCode.PLAN_EXPIRED, f"it expired {ended}", "have a new version of it approved")


def _approval(case: _Case) -> Iterator[Refused]:
    us, needed = case.policy.partner, case.agreement.terms.thresholds.plan
    remedy = "compare its digest with what you meant to approve, and have it signed again"
    try:
        approved = case.signed.approved_by(case.agreement, case.now)
    except (DocumentError, AgreementError) as error:
        yield case.by_plan(RefusalCode.PLAN_NOT_APPROVED, str(error), remedy)
        return
    if us not in approved:
        yield case.by_plan(RefusalCode.PLAN_NOT_APPROVED, f"{us} has not approved it", "read it, and sign it")
    if len(approved) < needed:
        reason = f"{len(approved)} of the {needed} data owners that it takes have approved it"
        yield case.by_plan(RefusalCode.PLAN_NOT_APPROVED, reason, "ask the others to read and sign it")


def _code(case: _Case) -> Iterator[Refused]:
    named, ours = case.plan.code, case.code
    if named is None:
        if case.agreement.terms.plan_rules.code_digest:
            remedy = "have the plan name the code that runs"
            yield case.by_agreement(RefusalCode.CODE_DIFFERS, "it names no code", remedy)
        return
    for what, theirs, here in (
        ("package", named.package, ours.package),
        ("environment", named.environment, ours.environment),
    ):
        if theirs != here:
            reason = f"it names the {what} {theirs[:16]}, but {here[:16]} runs here"
            yield case.by_plan(RefusalCode.CODE_DIFFERS, reason, "install the code that was approved")


def _partners(case: _Case) -> Iterator[Refused]:
    plan, terms, us = case.plan, case.agreement.terms, case.policy.partner
    coordinator = terms.partner(plan.coordinator)
    if coordinator is None or Role.COORDINATOR not in coordinator.roles:
        remedy = "name a coordinator of the agreement"
        yield case.by_agreement(RefusalCode.ROLE, f"{plan.coordinator} is not a coordinator", remedy)
    strangers = sorted(set(plan.partners) - set(terms.data_owners))
    if strangers:
        remedy = "take them out of the plan, or amend the agreement"
        yield case.by_agreement(RefusalCode.UNKNOWN_PARTNER, f"{', '.join(strangers)} own no data in it", remedy)
    if us not in plan.partners:
        yield case.by_plan(RefusalCode.DATASET, f"it uses no data set of {us}", "leave this run to the others")
    remedy = "wait for more data owners to take part"
    n_owners, least, our_least = len(plan.partners), terms.min_cohort, case.policy.min_cohort
    if n_owners < least:
        reason = f"{n_owners} data owners take part, fewer than {least}"
        yield case.by_agreement(RefusalCode.TOO_FEW_PARTNERS, reason, remedy)
    if n_owners < our_least:
        reason = f"{n_owners} data owners take part in {plan.label}, fewer than {our_least}"
        yield case.by_policy(RefusalCode.TOO_FEW_PARTNERS, reason, remedy)


def _aggregation(case: _Case) -> Iterator[Refused]:
    terms, rules = case.plan.aggregation, case.agreement.terms.plan_rules
    remedy = "have the plan require secure aggregation"
    if rules.secure_aggregation and not terms.required:
        yield case.by_agreement(RefusalCode.PLAIN_AGGREGATION, "updates would be seen by the server", remedy)
    if case.policy.secure_aggregation and not terms.required:
        reason = f"in {case.plan.label}, updates would be seen by the server"
        yield case.by_policy(RefusalCode.PLAIN_AGGREGATION, reason, remedy)
    if terms.required and terms.n_colluders < rules.n_colluders:
        reason = f"it hides updates from {terms.n_colluders} colluding partners, fewer than {rules.n_colluders}"
        yield case.by_agreement(RefusalCode.PLAIN_AGGREGATION, reason, "have the plan name more colluders")


def _privacy(case: _Case) -> Iterator[Refused]:
    spent, remedy = case.plan.privacy_budget, "have the plan spend less"
    if not _covers(case.agreement.terms.plan_rules.privacy_budget, spent):
        yield case.by_agreement(RefusalCode.PRIVACY_BUDGET, f"it may not spend {_budget(spent)}", remedy)
    if not _covers(case.policy.privacy_budget, spent):
        reason = f"{case.plan.label} may not spend {_budget(spent)}"
        yield case.by_policy(RefusalCode.PRIVACY_BUDGET, reason, remedy)


def _covers(limit: PrivacyBudget | None, spent: PrivacyBudget | None) -> bool:
    return limit is None or (spent is not None and limit.covers(spent))


def _budget(budget: PrivacyBudget | None) -> str:
    return f"epsilon {budget.epsilon} and delta {budget.delta}" if budget else "without bound"


def _metrics(case: _Case) -> Iterator[Refused]:
    strange = sorted(set(case.plan.metrics) - set(case.agreement.terms.metrics))
    if strange:
        reason = f"models are not judged by {', '.join(strange)}"
        yield case.by_agreement(RefusalCode.METRIC, reason, "use the metrics of the agreement, or amend it")


def _grants(case: _Case) -> Iterator[Refused]:
    """What the coordinator does with our data, and what each recipient gets, by agreement and by our policy."""
    plan = case.plan
    uses = (Action.TRAIN_ON, Action.EVALUATE_ON)
    ours = [dataset for dataset in plan.dataset_resources() if dataset.owner == case.policy.partner]
    asked: list[tuple[str, Action, Resource]] = [
        (plan.coordinator, action, dataset) for dataset in ours for action in uses
    ]
    asked.append((plan.coordinator, Action.PROCESS, plan.result(ResourceKind.SHARED_TRUNK)))
    for delivery in plan.deliveries:
        result = plan.result(delivery.what)
        asked += [(partner, Action.DOWNLOAD, result) for partner in delivery.partners]
    for actor, action, resource in asked:
        decision = decide(case.agreement, {case.policy.partner: case.policy}, actor, action, resource, case.now)
        if isinstance(decision, Refused):
            yield decision
