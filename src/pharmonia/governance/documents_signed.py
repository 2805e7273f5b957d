"""Signatures beside a document: who, in which role, when, over its digest."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import AgreementError, DocumentError
from pharmonia.governance.documents import Fields, require_key_id, require_sorted, require_time, time_text, whole_second
from pharmonia.governance.identity import SIGNATURE_BYTES, PrivateKey, PublicKey
from pharmonia.governance.terms import Role

CLOCK_SKEW = timedelta(minutes=5)


class Domain(StrEnum):
    """What a signature is for; none is valid for another."""

    AGREEMENT = "agreement"
    KEY_CARD = "key-card"
    INVITATION = "invitation"
    POLICY = "policy"
    PLAN = "plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature over a document's digest, its signer's role and the time that the signer states.

    Args:
        key_id: Of the key that made it.
        role: In which the partner signs.
        signed_at: By the signer's clock, UTC, to the second.
        value: 64 bytes.

    Raises:
        DocumentError: Not 64 bytes.
    """

    key_id: str
    role: Role
    signed_at: datetime
    value: bytes

    def __post_init__(self) -> None:
        require_key_id(self.key_id, "the signer")
        require_time(self.signed_at, f"the time of the signature by {self.key_id}")
        if len(self.value) != SIGNATURE_BYTES:
            raise DocumentError(f"a signature has {SIGNATURE_BYTES} bytes, that by {self.key_id} {len(self.value)}")

    def is_by(self, key: PublicKey, domain: Domain, digest: str) -> bool:
        """Whether the owner of the key signed this digest for this domain in this role at this time."""
        return key.key_id == self.key_id and key.verify(
            self.value, domain, _message(digest, self.role, time_text(self.signed_at))
        )


def sign_digest(key: PrivateKey, domain: Domain, digest: str, role: Role, now: datetime) -> Signature:
    """The key's signature over a document's digest."""
    at = whole_second(now)
    value = key.sign(domain, _message(digest, role, time_text(at)))
    return Signature(key_id=key.public.key_id, role=role, signed_at=at, value=value)


def _message(digest: str, role: Role, signed_at: str) -> bytes:
    return canonical_json({"document": digest, "role": role.value, "signed_at": signed_at})


def with_signature(signatures: Sequence[Signature], added: Signature) -> tuple[Signature, ...]:
    """The signatures and one more, sorted by key; a second one by the same key is not taken."""
    others = [signature for signature in signatures if signature.key_id != added.key_id]
    kept = signatures if len(others) < len(signatures) else [*others, added]
    return tuple(sorted(kept, key=lambda signature: signature.key_id))


def require_past(signatures: Sequence[Signature], now: datetime, document: str) -> None:
    """Refuses signatures from the future, by more than five minutes between two clocks.

    Raises:
        AgreementError: One states a time that has not come.
    """
    for signature in signatures:
        if signature.signed_at > now + CLOCK_SKEW:
            raise AgreementError(
                f"{document}: the signature by {signature.key_id} states {time_text(signature.signed_at)}, but here "
                f"it is {time_text(now)}; set the clock that is wrong, and sign again if it is the signer's"
            )


def signatures_json(signatures: Sequence[Signature]) -> Json:
    """As documents hold them."""
    return [
        {
            "key_id": signature.key_id,
            "role": signature.role.value,
            "signed_at": time_text(signature.signed_at),
            "signature": base64.b64encode(signature.value).decode(),
        }
        for signature in signatures
    ]


def take_signatures(fields: Fields) -> tuple[Signature, ...]:
    """The field `signatures` of a document.

    Raises:
        DocumentError: Not signatures, or not sorted by key, each key once.
    """
    found = tuple(_signature(inner) for inner in fields.inners("signatures"))
    require_sorted([signature.key_id for signature in found], f"{fields.where}, signatures")
    return found


def _signature(fields: Fields) -> Signature:
    try:
        value = base64.b64decode(fields.text("signature"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DocumentError(f"{fields.where}: the signature is not base64") from error
    key_id, role = fields.text("key_id"), fields.choice("role", Role)
    signature = Signature(key_id=key_id, role=role, signed_at=fields.time("signed_at"), value=value)
    fields.done()
    return signature
