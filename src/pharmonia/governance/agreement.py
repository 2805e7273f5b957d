"""One version of the agreement: terms and keys, its bytes and its digest."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pharmonia.base.canonical import Json
from pharmonia.base.errors import AgreementError, TermsError
from pharmonia.governance.documents import Fields, document_digest, require_digest, require_id, require_time, time_text
from pharmonia.governance.identity import PublicKey
from pharmonia.governance.terms import Partner, Role, Terms
from pharmonia.governance.terms_codec import take_terms, terms_json

FORMAT = "pharmonia/agreement/v1"
MAX_VERSION, MAX_KEYS = 10_000, 2_000


class KeyState(StrEnum):
    """What a key is good for from this version on."""

    ACTIVE = "active"
    RETIRED = "retired"  # replaced in good order
    REVOKED = "revoked"  # lost, stolen, or of a partner who left


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerKey:
    """A partner's key; once named it stays in every later version, so that none comes back.

    Args:
        partner: Its owner's id.
        public: The key.
        state: What it is good for.
        valid_until: It signs nothing after that.
    """

    partner: str
    public: PublicKey
    state: KeyState
    valid_until: datetime

    def __post_init__(self) -> None:
        require_id(self.partner, "the owner of a key")
        require_time(self.valid_until, f"the end of a key of {self.partner}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One version of the agreement; whether it is signed is for `AgreementHistory` to say.

    Args:
        version: From 1.
        previous: Digest of the version before; None for the first.
        terms: What the partners agree on.
        keys: Of all partners that are or were, sorted by owner and key id.

    Raises:
        TermsError: Terms that these partners cannot keep, a partner without an active key, a key without a partner, or
            a key named twice.
    """

    version: int
    previous: str | None
    terms: Terms
    keys: tuple[PartnerKey, ...]

    def __post_init__(self) -> None:
        self.terms.require_complete()
        if not 1 <= self.version <= MAX_VERSION or (self.previous is None) != (self.version == 1):
            raise TermsError(f"version {self.version} of an agreement: the first has no previous one, every other has")
        if self.previous is not None:
            require_digest(self.previous, "the digest of the previous version")
        names = [(key.partner, key.public.key_id) for key in self.keys]
        if names != sorted(names) or len({name for _, name in names}) != len(names) or len(names) > MAX_KEYS:
            raise TermsError(f"{self.name}: expected keys sorted by owner and id, each once; make a key per partner")
        owners = {key.partner for key in self.keys if key.state is KeyState.ACTIVE}
        if owners != set(self.terms.ids):
            lacking, strange = sorted(set(self.terms.ids) - owners), sorted(owners - set(self.terms.ids))
            raise TermsError(
                f"{self.name}, version {self.version}: without an active key: {', '.join(lacking) or 'nobody'}; with "
                f"one but not a partner: {', '.join(strange) or 'nobody'}; add key cards, or revoke keys"
            )

    @property
    def name(self) -> str:
        """For messages: `agreement of` and the consortium's id."""
        return f"agreement of {self.terms.consortium}"

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name this version."""
        return document_digest(FORMAT, agreement_json(self))

    def partner(self, partner_id: str) -> Partner:
        """The partner of that id.

        Raises:
            AgreementError: There is none.
        """
        partner = self.terms.partner(partner_id)
        if partner is None:
            raise AgreementError(
                f"{self.name}, version {self.version}: {partner_id[:40]!a} is not a partner; amend the agreement to "
                f"admit it, or name one of {', '.join(self.terms.ids)}"
            )
        return partner

    def key(self, key_id: str) -> PartnerKey:
        """The active key of that id.

        Raises:
            AgreementError: Unknown, retired or revoked; says which key its owner signs with now.
        """
        for key in self.keys:
            if key.public.key_id == key_id:
                if key.state is KeyState.ACTIVE:
                    return key
                active = ", ".join(other.public.key_id for other in self.active_keys(key.partner)) or "none"
                raise AgreementError(
                    f"{self.name}, version {self.version}: the key {key_id} of {key.partner} is {key.state}; its "
                    f"active keys are: {active}"
                )
        raise AgreementError(
            f"{self.name}, version {self.version}: the key {key_id[:40]!a} belongs to no partner; amend the agreement "
            f"with its owner's key card"
        )

    def active_keys(self, partner_id: str) -> tuple[PartnerKey, ...]:
        """The keys with which a partner signs, if they have not expired."""
        return tuple(key for key in self.keys if key.partner == partner_id and key.state is KeyState.ACTIVE)

    def signing_role(self, partner_id: str) -> Role:
        """The role in which a partner signs: the first that it has.

        Raises:
            AgreementError: It is not a partner.
        """
        return self.partner(partner_id).roles[0]


def agreement_json(agreement: Agreement) -> Json:
    """The body of a version."""
    return {
        "version": agreement.version,
        "previous": agreement.previous,
        "terms": terms_json(agreement.terms),
        "keys": [key_json(key) for key in agreement.keys],
    }


def key_json(key: PartnerKey) -> Json:
    """A partner's key as an agreement holds it."""
    return {
        "partner": key.partner,
        "key_id": key.public.key_id,
        "public_key": key.public.raw.hex(),
        "state": key.state.value,
        "valid_until": time_text(key.valid_until),
    }


def take_agreement(fields: Fields) -> Agreement:
    """A version from its body.

    Raises:
        DocumentError: A field is missing, strange or of another type.
        TermsError: Terms that nobody could keep.
    """
    agreement = Agreement(
        version=fields.integer("version"),
        previous=None if fields.is_null("previous") else fields.text("previous"),
        terms=take_terms(fields.inner("terms")),
        keys=tuple(_key(inner) for inner in fields.inners("keys")),
    )
    fields.done()
    return agreement


def _key(fields: Fields) -> PartnerKey:
    key = PartnerKey(
        partner=fields.text("partner"),
        public=PublicKey(fields.binary("public_key")),
        state=fields.choice("state", KeyState),
        valid_until=fields.time("valid_until"),
    )
    if fields.text("key_id") != key.public.key_id:
        raise fields.error(f"{fields.where}: the key's id is {key.public.key_id}, not what is written")
    fields.done()
    return key
