"""A partner's own policy: what it grants, until when; it can only narrow what the agreement allows."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from pharmonia.base.canonical import Json
from pharmonia.base.errors import AgreementError, DocumentError, TermsError
from pharmonia.governance.agreement import Agreement, KeyState, PartnerKey
from pharmonia.governance.agreement_history import check_signature, require_made_by
from pharmonia.governance.documents import (
    Fields,
    document_digest,
    parse,
    render,
    require_digest,
    require_id,
    require_same,
    require_sorted,
    require_time,
    time_text,
    whole_second,
)
from pharmonia.governance.documents_signed import (
    Domain,
    Signature,
    require_past,
    sign_digest,
    signatures_json,
    take_signatures,
)
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.terms import Action, PrivacyBudget, ResourceKind
from pharmonia.governance.terms_codec import budget_json, take_budget

FORMAT = "pharmonia/policy/v1"
MAX_SERIAL, MAX_GRANTS = 1_000_000, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A permission that a data owner gives, on its data sets and on results that they went into.

    Args:
        partners: Sorted ids; empty for every partner that the agreement allows.
        actions: Sorted.
        resources: Sorted kinds.
        datasets: Sorted commitments of the owner's data sets; empty for all of them.
        until: Not after that.
        revoked_at: Not from then on; None while it stands.

    Raises:
        TermsError: A list that is not sorted, or nothing granted.
    """

    partners: tuple[str, ...]
    actions: tuple[Action, ...]
    resources: tuple[ResourceKind, ...]
    datasets: tuple[str, ...]
    until: datetime
    revoked_at: datetime | None

    def __post_init__(self) -> None:
        for what in (self.partners, self.actions, self.resources, self.datasets):
            require_sorted(what, "a grant")
        if not self.actions or not self.resources:
            raise TermsError("a grant names an action and a resource; leave the grant out to grant nothing")
        for partner in self.partners:
            require_id(partner, "a partner in a grant")
        for dataset in self.datasets:
            require_digest(dataset, "a data set in a grant")
        require_time(self.until, "the end of a grant")
        if self.revoked_at is not None:
            require_time(self.revoked_at, "the revocation of a grant")

    def names(self, partner: str, action: Action, resource: ResourceKind, dataset: str) -> bool:
        """Whether the grant is about this, in time or not."""
        return (
            (not self.partners or partner in self.partners)
            and (not self.datasets or dataset in self.datasets)
            and action in self.actions
            and resource in self.resources
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPolicy:
    """What one data owner allows, within the agreement.

    Args:
        consortium: Its identifier.
        partner: The owner's id.
        serial: From 1; a policy replaces those with smaller serials.
        issued_at: When it was made.
        valid_until: After that it grants nothing.
        min_cohort: Fewest data owners that a plan may train with.
        secure_aggregation: Whether plans must aggregate securely, even if the agreement does not ask for it.
        privacy_budget: The most that a run may spend; None for what the agreement says.
        grants: What is allowed; nothing else is.

    Raises:
        TermsError: A field that cannot be so.
    """

    consortium: str
    partner: str
    serial: int
    issued_at: datetime
    valid_until: datetime
    min_cohort: int
    secure_aggregation: bool
    privacy_budget: PrivacyBudget | None
    grants: tuple[Grant, ...]

    def __post_init__(self) -> None:
        require_id(self.consortium, "the consortium of a policy")
        require_id(self.partner, "the partner of a policy")
        require_time(self.issued_at, "the time of a policy")
        require_time(self.valid_until, "the end of a policy")
        if not 1 <= self.serial <= MAX_SERIAL or self.min_cohort < 2 or len(self.grants) > MAX_GRANTS:
            raise TermsError(
                f"{self.name}: expected a serial of 1 to {MAX_SERIAL:,}, a minimum cohort of 2 or more and at most "
                f"{MAX_GRANTS:,} grants, got {self.serial}, {self.min_cohort} and {len(self.grants)}"
            )

    @property
    def name(self) -> str:
        """For messages: `policy of` and the partner's id."""
        return f"policy of {self.partner}"

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name this policy."""
        return document_digest(FORMAT, _policy_json(self))

    def require_fits(self, agreement: Agreement) -> None:
        """Refuses a policy that asks for more than the agreement gives, which nobody would honour.

        Raises:
            TermsError: It is of another consortium, names a stranger, or has a limit looser than the agreement's.
        """
        terms = agreement.terms
        where = f"{self.name}, serial {self.serial}: {agreement.name}, version {agreement.version}"
        if self.consortium != terms.consortium or self.partner not in terms.data_owners:
            raise TermsError(f"{where} knows no data owner {self.partner} of {self.consortium}; name one of it")
        strangers = {partner for grant in self.grants for partner in grant.partners} - set(terms.ids)
        if strangers:
            raise TermsError(f"{where} does not know {', '.join(sorted(strangers))}; take them out of the grants")
        if self.min_cohort < terms.min_cohort:
            raise TermsError(f"{where} asks for {terms.min_cohort} data owners or more; a policy can only raise that")
        ours, theirs = self.privacy_budget, terms.plan_rules.privacy_budget
        if ours and theirs and not theirs.covers(ours):
            raise TermsError(f"{where} gives a smaller privacy budget; a policy can only lower it")


def open_policy(agreement: Agreement, partner: str, now: datetime) -> LocalPolicy:
    """The policy, serial 1, that grants all that the agreement allows, as long as the agreement lasts."""
    grant = Grant(
        partners=(),
        actions=tuple(sorted(Action)),
        resources=tuple(sorted(ResourceKind)),
        datasets=(),
        until=agreement.terms.valid_until,
        revoked_at=None,
    )
    return LocalPolicy(
        consortium=agreement.terms.consortium,
        partner=partner,
        serial=1,
        issued_at=whole_second(now),
        valid_until=agreement.terms.valid_until,
        min_cohort=agreement.terms.min_cohort,
        secure_aggregation=agreement.terms.plan_rules.secure_aggregation,
        privacy_budget=None,
        grants=(grant,),
    )


def with_grants(policy: LocalPolicy, grants: Iterable[Grant], now: datetime) -> LocalPolicy:
    """The next policy of the same partner, with other grants."""
    return replace(policy, serial=policy.serial + 1, issued_at=whole_second(now), grants=tuple(grants))


def revoke_all(policy: LocalPolicy, now: datetime) -> LocalPolicy:
    """The next policy of the same partner, with every grant revoked from now on."""
    at = whole_second(now)
    return with_grants(policy, (replace(g, revoked_at=g.revoked_at or at) for g in policy.grants), now)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPolicy:
    """A policy and its owner's signature."""

    policy: LocalPolicy
    signature: Signature

    def verified(self, agreement: Agreement, now: datetime) -> LocalPolicy:
        """The policy, if its owner signed it and it fits the agreement.

        Raises:
            DocumentError: The signature is another partner's, or not over these bytes.
            AgreementError: By a key that may not sign, or from the future; says how a policy is signed anew.
            TermsError: It asks for more than the agreement gives.
        """
        policy, document = self.policy, self._document
        require_past([self.signature], now, document)
        key = self._key(agreement)
        if key.state is KeyState.RETIRED:
            active = ", ".join(other.public.key_id for other in agreement.active_keys(key.partner)) or "none"
            raise AgreementError(
                f"{document}: the key {self.signature.key_id} of {key.partner}, which signed it, is retired; sign it "
                f"anew with `pharmonia policy sign` and an active key of {key.partner}: {active}"
            )
        signer = check_signature(agreement, self.signature, Domain.POLICY, policy.digest, document)
        self._require_own(signer)
        policy.require_fits(agreement)
        return policy

    def once_signed(self, agreement: Agreement, now: datetime) -> LocalPolicy:
        """The policy, if its owner signed it with a key that is active or retired; whether it fits is not asked.

        Raises:
            DocumentError, AgreementError: As `verified`; a retired key is none.
        """
        require_past([self.signature], now, self._document)
        key = self._key(agreement)
        self._require_own(key.partner)
        require_made_by(key, self.signature, Domain.POLICY, self.policy.digest, self._document)
        return self.policy

    @property
    def _document(self) -> str:
        return f"{self.policy.name}, serial {self.policy.serial}"

    def _key(self, agreement: Agreement) -> PartnerKey:
        """The key that the signature names, unless it is revoked."""
        key_id = self.signature.key_id
        named = {key.public.key_id: key for key in agreement.keys}
        key = named.get(key_id) or agreement.key(key_id)
        if key.state is KeyState.REVOKED:
            raise AgreementError(
                f"{self._document}: the key {key_id} of {key.partner}, which signed it, is revoked: others may have it "
                f"and have written this; make a policy with `pharmonia policy open` in a new file, grant and revoke in "
                f"it what you mean to, put it in the place of this one, and start a service that runs anew"
            )
        return key

    def _require_own(self, signer: str) -> None:
        if signer != self.policy.partner:
            raise DocumentError(f"{self._document} is signed by {signer}; only {self.policy.partner} may sign it")


def sign_policy(policy: LocalPolicy, agreement: Agreement, key: PrivateKey, now: datetime) -> SignedPolicy:
    """The policy, signed by its owner.

    Raises:
        AgreementError: The agreement does not know the key as active.
        DocumentError: The key is another partner's.
        TermsError: The policy asks for more than the agreement gives.
    """
    role = agreement.signing_role(agreement.key(key.public.key_id).partner)
    signed = SignedPolicy(policy=policy, signature=sign_digest(key, Domain.POLICY, policy.digest, role, now))
    signed.verified(agreement, now)
    return signed


def sign_anew(signed: SignedPolicy, agreement: Agreement, key: PrivateKey, now: datetime) -> SignedPolicy:
    """The next policy of the same partner, which says the same, signed with a key that is active now.

    Raises:
        AgreementError: The old signature is by a key that is revoked or nobody's, or the new key is not active.
        DocumentError: The old signature is not over these bytes, or a key is another partner's.
        TermsError: The policy asks for more than the agreement gives.
    """
    policy = signed.once_signed(agreement, now)
    return sign_policy(with_grants(policy, policy.grants, now), agreement, key, now)


def newer(known: LocalPolicy, offered: LocalPolicy) -> LocalPolicy:
    """The offered policy, if it may take the place of the known one; both verified.

    Raises:
        AgreementError: It is older: a replay.
        DocumentError: It is another partner's, or a second one with the same serial.
    """
    if (offered.consortium, offered.partner) != (known.consortium, known.partner):
        raise DocumentError(f"{offered.name} is not the {known.name} in {known.consortium}; ask {known.partner} for it")
    if offered.serial < known.serial:
        raise AgreementError(f"{known.name}: serial {offered.serial} was replaced by {known.serial}; use that one")
    if offered.serial == known.serial and offered.digest != known.digest:
        raise DocumentError(f"{known.name}: two policies have serial {known.serial}; ask {known.partner} for a third")
    return offered


def encode_policy(signed: SignedPolicy) -> bytes:
    """The policy's file."""
    return render(_document(signed))


def _document(signed: SignedPolicy) -> Json:
    return {"format": FORMAT, "body": _policy_json(signed.policy), "signatures": signatures_json([signed.signature])}


def decode_policy(content: bytes, where: str) -> SignedPolicy:
    """The policy in a file; `SignedPolicy.verified` says whether it counts.

    Raises:
        DocumentError: Not byte for byte what was written.
        TermsError: Fields that cannot be so.
    """
    fields = parse(content, FORMAT, where)
    policy, signatures = _take_policy(fields.inner("body")), take_signatures(fields)
    fields.done()
    if len(signatures) != 1:
        raise DocumentError(f"{where}: a policy has one signature, its owner's; got {len(signatures)}")
    signed = SignedPolicy(policy=policy, signature=signatures[0])
    require_same(content, _document(signed), where)
    return signed


def _policy_json(policy: LocalPolicy) -> Json:
    return {
        "consortium": policy.consortium,
        "partner": policy.partner,
        "serial": policy.serial,
        "issued_at": time_text(policy.issued_at),
        "valid_until": time_text(policy.valid_until),
        "min_cohort": policy.min_cohort,
        "secure_aggregation": policy.secure_aggregation,
        "privacy_budget": budget_json(policy.privacy_budget),
        "grants": [
            {
                "partners": list(grant.partners),
                "actions": [action.value for action in grant.actions],
                "resources": [kind.value for kind in grant.resources],
                "datasets": list(grant.datasets),
                "until": time_text(grant.until),
                "revoked_at": None if grant.revoked_at is None else time_text(grant.revoked_at),
            }
            for grant in policy.grants
        ],
    }


def _take_policy(fields: Fields) -> LocalPolicy:
    policy = LocalPolicy(
        consortium=fields.text("consortium"),
        partner=fields.text("partner"),
        serial=fields.integer("serial"),
        issued_at=fields.time("issued_at"),
        valid_until=fields.time("valid_until"),
        min_cohort=fields.integer("min_cohort"),
        secure_aggregation=fields.flag("secure_aggregation"),
        privacy_budget=take_budget(fields, "privacy_budget"),
        grants=tuple(_grant(inner) for inner in fields.inners("grants")),
    )
    fields.done()
    return policy


def _grant(fields: Fields) -> Grant:
    grant = Grant(
        partners=fields.texts("partners"),
        actions=fields.choices("actions", Action),
        resources=fields.choices("resources", ResourceKind),
        datasets=fields.texts("datasets"),
        until=fields.time("until"),
        revoked_at=None if fields.is_null("revoked_at") else fields.time("revoked_at"),
    )
    fields.done()
    return grant
