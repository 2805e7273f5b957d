"""Who may do what with what: the agreement's table, narrowed by the policies of those whose data went in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from pharmonia.base.errors import TermsError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.documents import require_id, require_text, time_text
from pharmonia.governance.policy import LocalPolicy
from pharmonia.governance.terms import (
    Action,
    Allowed,
    Decision,
    Partner,
    RefusalCode,
    Refused,
    ResourceKind,
    Role,
)

MAX_LABEL = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Something that rights are about.

    Args:
        kind: What it is.
        name: For messages and grants: a data set's commitment, a digest.
        owner: Whose it is; None for what the consortium has in common.
        inputs: What it was made from.

    Raises:
        TermsError: An owner or inputs where there can be none, such as a private head inside a shared trunk.

    Guarantees:
        a_head_goes_into_nothing_shared: Only its owner's heads and predictions, and reports, are made from a head.
    """

    kind: ResourceKind
    name: str
    owner: str | None = None
    inputs: tuple["Resource", ...] = ()

    def __post_init__(self) -> None:
        require_text(self.name, "a resource", MAX_LABEL)
        if (self.owner is not None) != (self.kind in _OWNED):
            raise TermsError(f"{self.label}: data sets, heads and predictions have an owner, other resources have none")
        if self.owner is not None:
            require_id(self.owner, f"the owner of {self.label}")
        allowed = _MADE_FROM[self.kind]
        for one in self.inputs:
            foreign = one.kind is ResourceKind.PRIVATE_HEAD and self.owner not in {None, one.owner}
            if one.kind not in allowed or foreign:
                raise TermsError(f"{self.label} cannot be made from {one.label}")
        if self.kind is ResourceKind.SHARED_TRUNK and not self.inputs:
            raise TermsError(f"{self.label} names the data sets that it was trained on")

    @property
    def label(self) -> str:
        """For messages, such as `the private head 1f0c of acme`."""
        kind = self.kind.value.replace("-", " ")
        return f"the {kind} {self.name[:16]}{f' of {self.owner}' if self.owner else ''}"

    def datasets(self) -> Iterator["Resource"]:
        """The data sets at the bottom of it; itself, if it is one."""
        if self.kind is ResourceKind.DATASET:
            yield self
        for one in self.inputs:
            yield from one.datasets()


_D, _H, _T, _P, _R, _L = ResourceKind
_OWNED = frozenset({_D, _H, _P})
_MADE_FROM: dict[ResourceKind, frozenset[ResourceKind]] = {
    _D: frozenset(),
    _H: frozenset({_D, _H, _T}),
    _T: frozenset({_D, _T}),
    _P: frozenset({_D, _H, _T}),
    _R: frozenset({_D, _H, _T, _P, _R}),
    _L: frozenset(),
}


class Who(Enum):
    """Whom the agreement allows something; the value is for people."""

    OWNER = "its owner"
    USERS = "its owner, data owners, model developers and the coordinator"
    OWNER_AND_AUDITORS = "its owner and auditors"
    RECIPIENTS = "recipients of the trunk"
    RECIPIENTS_AND_COORDINATOR = "recipients of the trunk and the coordinator"
    EXPORTERS = "who may have it and may export it"
    PUBLISHERS = "who may have it, if it may be published"
    MEMBERS = "every partner"
    NOBODY = "nobody"
    MEANINGLESS = "nobody, for it makes no sense"


_ROWS: dict[ResourceKind, tuple[Who, ...]] = {  # columns in the order of Action
    _D: (Who.USERS, Who.USERS, Who.USERS, Who.OWNER, Who.OWNER, Who.OWNER, Who.OWNER_AND_AUDITORS),
    _H: (Who.OWNER, Who.OWNER, Who.OWNER, Who.OWNER, Who.NOBODY, Who.NOBODY, Who.OWNER),
    _T: (*(Who.RECIPIENTS_AND_COORDINATOR,) * 3, Who.RECIPIENTS, Who.EXPORTERS, Who.PUBLISHERS, Who.MEMBERS),
    _P: (Who.OWNER, Who.OWNER, Who.OWNER, Who.OWNER, Who.EXPORTERS, Who.PUBLISHERS, Who.OWNER_AND_AUDITORS),
    _R: (*(Who.MEANINGLESS,) * 3, Who.MEMBERS, Who.EXPORTERS, Who.PUBLISHERS, Who.MEMBERS),
    _L: (*(Who.MEANINGLESS,) * 3, Who.MEMBERS, Who.EXPORTERS, Who.PUBLISHERS, Who.MEMBERS),
}
TABLE: Mapping[tuple[ResourceKind, Action], Who] = {
    (kind, action): who for kind, row in _ROWS.items() for action, who in zip(Action, row, strict=True)
}
_WHY_NOT: dict[Who, tuple[RefusalCode, str]] = {
    Who.OWNER: (RefusalCode.NOT_OWNER, "ask its owner to do it"),
    Who.USERS: (RefusalCode.ROLE, "amend the agreement to give it a role that may"),
    Who.OWNER_AND_AUDITORS: (RefusalCode.ROLE, "ask its owner or an auditor"),
    Who.RECIPIENTS: (RefusalCode.NOT_RECIPIENT, "amend the agreement to make it a recipient"),
    Who.RECIPIENTS_AND_COORDINATOR: (RefusalCode.NOT_RECIPIENT, "amend the agreement to make it a recipient"),
    Who.EXPORTERS: (RefusalCode.NOT_EXPORTABLE, "amend the agreement to let it have and export this"),
    Who.PUBLISHERS: (RefusalCode.NOT_PUBLISHABLE, "amend the agreement to let this be published"),
    Who.NOBODY: (RefusalCode.NEVER_LEAVES, "share predictions or a report instead; no amendment can allow it"),
    Who.MEANINGLESS: (RefusalCode.MEANINGLESS, "ask for another action"),
}
USES = frozenset({Action.PROCESS, Action.TRAIN_ON, Action.EVALUATE_ON})
_USING = frozenset({Role.DATA_OWNER, Role.MODEL_DEVELOPER, Role.COORDINATOR})


def decide(
    agreement: Agreement,
    policies: Mapping[str, LocalPolicy],
    actor: str,
    action: Action,
    resource: Resource,
    now: datetime,
) -> Decision:
    """Whether a partner may do something with something, and if not, why.

    The agreement's table must allow it; so must the policy of every other partner whose data set is in it, if that has
    one; and what uses a result (process, train on, evaluate on) must be allowed on each of its inputs.

    Args:
        agreement: In force.
        policies: By partner, each verified; a partner without one grants what the agreement allows.
        actor: A partner's id.
        action: What it wants to do.
        resource: With what.
        now: Against which ends and revocations are held.

    Guarantees:
        a_private_head_never_leaves_its_owner: Whatever agreement and policies say.
        a_result_is_as_free_as_its_least_free_input: Rights are intersections.
        a_policy_only_narrows: Whatever is allowed with it is allowed without it.
    """
    partner = agreement.terms.partner(actor)
    if partner is None:
        reason = f"{actor[:40]!a} is not a partner"
        return refuse(agreement, RefusalCode.UNKNOWN_PARTNER, reason, "amend the agreement to admit it")
    if now > agreement.terms.valid_until:
        reason = f"it ended {time_text(agreement.terms.valid_until)}"
        return refuse(agreement, RefusalCode.AGREEMENT_ENDED, reason, "amend the agreement to go on")
    refused = _by_agreement(agreement, partner, action, resource)
    if refused is None and action in USES:
        refused = _by_inputs(agreement, policies, actor, action, resource, now)
    for dataset in resource.datasets():
        policy = policies.get(dataset.owner or "")
        if refused is None and policy is not None and dataset.owner != actor:
            refused = _by_policy(policy, actor, action, resource, dataset, now)
    return refused or Allowed(document=agreement.name, version=agreement.version)


def refuse(agreement: Agreement, code: RefusalCode, reason: str, remedy: str) -> Refused:
    """A refusal by the agreement."""
    return Refused(code=code, document=agreement.name, version=agreement.version, reason=reason, remedy=remedy)


def _by_agreement(agreement: Agreement, partner: Partner, action: Action, resource: Resource) -> Refused | None:
    who = TABLE[resource.kind, action]
    if _allows(agreement, partner, resource, who):
        return None
    code, remedy = _WHY_NOT[who]
    reason = f"{partner.id} may not {_verb(action)} {resource.label}; this is for {who.value}"
    return refuse(agreement, code, reason, remedy)


def _allows(agreement: Agreement, partner: Partner, resource: Resource, who: Who) -> bool:
    own, receives = partner.id == resource.owner, partner.id in agreement.terms.trunk_recipients
    match who:
        case Who.OWNER:
            allowed = own
        case Who.USERS:
            allowed = own or not _USING.isdisjoint(partner.roles)
        case Who.OWNER_AND_AUDITORS:
            allowed = own or Role.AUDITOR in partner.roles
        case Who.RECIPIENTS:
            allowed = receives
        case Who.RECIPIENTS_AND_COORDINATOR:
            allowed = receives or Role.COORDINATOR in partner.roles
        case Who.EXPORTERS:
            allowed = resource.kind in partner.may_export and _may_have(agreement, partner, resource)
        case Who.PUBLISHERS:
            allowed = resource.kind in agreement.terms.publishable and _may_have(agreement, partner, resource)
        case Who.MEMBERS:
            allowed = True
        case Who.NOBODY | Who.MEANINGLESS:
            allowed = False
    return allowed


def _may_have(agreement: Agreement, partner: Partner, resource: Resource) -> bool:
    return _allows(agreement, partner, resource, TABLE[resource.kind, Action.DOWNLOAD])


def _by_inputs(
    agreement: Agreement,
    policies: Mapping[str, LocalPolicy],
    actor: str,
    action: Action,
    resource: Resource,
    now: datetime,
) -> Refused | None:
    for one in resource.inputs:
        decision = decide(agreement, policies, actor, action, one, now)
        if isinstance(decision, Refused):
            reason = (
                f"{actor} may not {_verb(action)} {resource.label}, which is made from {one.label}: {decision.reason}"
            )
            return replace(decision, code=RefusalCode.INPUT, reason=reason)
    return None


def _by_policy(
    policy: LocalPolicy, actor: str, action: Action, resource: Resource, dataset: Resource, now: datetime
) -> Refused | None:
    def refused(code: RefusalCode, why: str) -> Refused:
        return Refused(
            code=code,
            document=policy.name,
            version=policy.serial,
            reason=f"{actor} may not {_verb(action)} {resource.label}: {why}",
            remedy=f"ask {policy.partner} for a policy that grants it",
        )

    if now > policy.valid_until:
        return refused(RefusalCode.POLICY_EXPIRED, f"the policy ended {time_text(policy.valid_until)}")
    about = [grant for grant in policy.grants if grant.names(actor, action, resource.kind, dataset.name)]
    if not about:
        return refused(RefusalCode.NOT_GRANTED, "no grant names it")
    standing = [grant for grant in about if grant.revoked_at is None or now < grant.revoked_at]
    if not standing:
        return refused(RefusalCode.GRANT_REVOKED, "the grant was revoked")
    if all(now > grant.until for grant in standing):
        return refused(RefusalCode.GRANT_EXPIRED, f"the grant ended {time_text(max(g.until for g in standing))}")
    return None


def _verb(action: Action) -> str:
    return action.value.replace("-", " ")
