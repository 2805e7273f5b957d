"""What passes between partners before they are partners: invitations, and the key cards that answer them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pharmonia.base.canonical import Json
from pharmonia.base.errors import AgreementError, DocumentError, TermsError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.documents import (
    Fields,
    document_digest,
    parse,
    render,
    require_id,
    require_key_id,
    require_same,
    require_text,
    require_time,
    time_text,
    whole_second,
)
from pharmonia.governance.documents_signed import Domain
from pharmonia.governance.identity import PrivateKey, PublicKey
from pharmonia.governance.terms import MAX_NAME, MAX_PURPOSE, Partner, Terms
from pharmonia.governance.terms_codec import partner_json, take_partner

CARD_FORMAT = "pharmonia/key-card/v1"
INVITATION_FORMAT = "pharmonia/invitation/v1"
KEY_LIFE = timedelta(days=3 * 365)
INVITATION_LIFE = timedelta(days=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCard:
    """A public key that a partner wants to sign with; whose it is, people make sure of by its fingerprint.

    Args:
        consortium: Its identifier.
        partner: Its identifier there.
        public: The key.
        valid_until: It signs nothing after that.
        replaces: Id of the key that it takes the place of; None for a first or a further key.

    Raises:
        TermsError: A field that cannot be so.
    """

    consortium: str
    partner: str
    public: PublicKey
    valid_until: datetime
    replaces: str | None

    def __post_init__(self) -> None:
        require_id(self.consortium, "the consortium of a key card")
        require_id(self.partner, "the partner of a key card")
        require_time(self.valid_until, f"the end of the key of {self.partner}")
        if self.replaces is not None:
            require_key_id(self.replaces, f"the key that {self.partner} replaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCard:
    """A key card and the proof that somebody holds its key.

    Args:
        card: The card.
        proof: 64 bytes, by its key.

    Raises:
        DocumentError: The proof is not by the key.
    """

    card: KeyCard
    proof: bytes

    def __post_init__(self) -> None:
        if not self.card.public.verify(self.proof, Domain.KEY_CARD, _card_text(self.card)):
            raise DocumentError(f"the key card of {self.card.partner} is not signed by its own key; ask for a new one")


def first_card(key: PrivateKey, consortium: str, partner: str, now: datetime) -> SignedCard:
    """A card for a partner's key, which lasts three years."""
    return _signed_card(key, consortium, partner, None, now)


def rotation_card(key: PrivateKey, old: PublicKey, agreement: Agreement, now: datetime) -> SignedCard:
    """A card for the key that is to replace an active one.

    Raises:
        AgreementError: The old key is nobody's, retired or revoked.
    """
    partner = agreement.key(old.key_id).partner
    return _signed_card(key, agreement.terms.consortium, partner, old.key_id, now)


def _signed_card(key: PrivateKey, consortium: str, partner: str, replaces: str | None, now: datetime) -> SignedCard:
    card = KeyCard(
        consortium=consortium,
        partner=partner,
        public=key.public,
        valid_until=whole_second(now) + KEY_LIFE,
        replaces=replaces,
    )
    return SignedCard(card=card, proof=key.sign(Domain.KEY_CARD, _card_text(card)))


def _card_text(card: KeyCard) -> bytes:
    return document_digest(CARD_FORMAT, _card_json(card)).encode()


def _card_json(card: KeyCard) -> Json:
    return {
        "consortium": card.consortium,
        "partner": card.partner,
        "public_key": card.public.raw.hex(),
        "fingerprint": card.public.fingerprint,
        "valid_until": time_text(card.valid_until),
        "replaces": card.replaces,
    }


def encode_card(signed: SignedCard) -> bytes:
    """The card's file."""
    return render(_card_document(signed))


def _card_document(signed: SignedCard) -> Json:
    return {"format": CARD_FORMAT, "body": _card_json(signed.card), "proof": signed.proof.hex()}


def decode_card(content: bytes, where: str) -> SignedCard:
    """The card in a file.

    Raises:
        DocumentError: Not byte for byte what was written, or not signed by its own key.
        TermsError: Fields that cannot be so.
    """
    fields = parse(content, CARD_FORMAT, where)
    body = fields.inner("body")
    card = KeyCard(
        consortium=body.text("consortium"),
        partner=body.text("partner"),
        public=PublicKey(body.binary("public_key")),
        valid_until=body.time("valid_until"),
        replaces=None if body.is_null("replaces") else body.text("replaces"),
    )
    signed = SignedCard(card=card, proof=fields.binary("proof"))
    require_same(content, _card_document(signed), where)
    return signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What a partner is invited to.

    Args:
        consortium: Its identifier.
        title: As people write it.
        purpose: What the data may be used for.
        partner: As the invited will be listed.
        invited_by: Id of the inviting partner.
        key: Of the inviting partner; its fingerprint is to be read to the invited.
        valid_until: It is not taken up after that.

    Raises:
        TermsError: A field that cannot be so.
    """

    consortium: str
    title: str
    purpose: str
    partner: Partner
    invited_by: str
    key: PublicKey
    valid_until: datetime

    def __post_init__(self) -> None:
        require_id(self.consortium, "the consortium of an invitation")
        require_text(self.title, "the consortium's title", MAX_NAME)
        require_text(self.purpose, "the purpose", MAX_PURPOSE)
        require_id(self.invited_by, "the inviting partner")
        require_time(self.valid_until, "the end of an invitation")

    def require_open(self, now: datetime) -> None:
        """Refuses an invitation that has ended.

        Raises:
            AgreementError: It has.
        """
        if now > self.valid_until:
            raise AgreementError(
                f"the invitation of {self.partner.id} to {self.consortium} ended {time_text(self.valid_until)}; ask "
                f"{self.invited_by} for a new one"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedInvitation:
    """An invitation, signed by the inviting partner's key.

    Raises:
        DocumentError: It is not.
    """

    invitation: Invitation
    proof: bytes

    def __post_init__(self) -> None:
        one = self.invitation
        if not one.key.verify(self.proof, Domain.INVITATION, _invitation_text(one)):
            raise DocumentError(f"the invitation of {one.partner.id} is not signed by the key in it; ask for a new one")


def invite(terms: Terms, partner_id: str, invited_by: str, key: PrivateKey, now: datetime) -> SignedInvitation:
    """An invitation of a partner that the terms name, open for sixty days.

    Raises:
        TermsError: The terms do not name the inviting or the invited partner.
    """
    partner = terms.partner(partner_id)
    if partner is None or terms.partner(invited_by) is None:
        raise TermsError(
            f"the terms of {terms.consortium} name no partner {partner_id} or {invited_by}; add them first"
        )
    invitation = Invitation(
        consortium=terms.consortium,
        title=terms.title,
        purpose=terms.purpose,
        partner=partner,
        invited_by=invited_by,
        key=key.public,
        valid_until=whole_second(now) + INVITATION_LIFE,
    )
    return SignedInvitation(invitation=invitation, proof=key.sign(Domain.INVITATION, _invitation_text(invitation)))


def _invitation_text(one: Invitation) -> bytes:
    return document_digest(INVITATION_FORMAT, _invitation_json(one)).encode()


def _invitation_json(one: Invitation) -> Json:
    return {
        "consortium": one.consortium,
        "title": one.title,
        "purpose": one.purpose,
        "partner": partner_json(one.partner),
        "invited_by": one.invited_by,
        "public_key": one.key.raw.hex(),
        "fingerprint": one.key.fingerprint,
        "valid_until": time_text(one.valid_until),
    }


def encode_invitation(signed: SignedInvitation) -> bytes:
    """The invitation's file."""
    return render(_invitation_document(signed))


def _invitation_document(signed: SignedInvitation) -> Json:
    return {"format": INVITATION_FORMAT, "body": _invitation_json(signed.invitation), "proof": signed.proof.hex()}


def decode_invitation(content: bytes, where: str) -> SignedInvitation:
    """The invitation in a file.

    Raises:
        DocumentError: Not byte for byte what was written and signed.
        TermsError: Fields that cannot be so.
    """
    fields = parse(content, INVITATION_FORMAT, where)
    signed = SignedInvitation(invitation=_take_invitation(fields.inner("body")), proof=fields.binary("proof"))
    require_same(content, _invitation_document(signed), where)
    return signed


def _take_invitation(body: Fields) -> Invitation:
    return Invitation(
        consortium=body.text("consortium"),
        title=body.text("title"),
        purpose=body.text("purpose"),
        partner=take_partner(body.inner("partner")),
        invited_by=body.text("invited_by"),
        key=PublicKey(body.binary("public_key")),
        valid_until=body.time("valid_until"),
    )
