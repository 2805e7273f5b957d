"""The agreement as a file: all its versions, each signed by the thresholds of the version before and its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pharmonia.base.canonical import Json
from pharmonia.base.errors import AgreementError, DocumentError
from pharmonia.governance.agreement import (
    FORMAT,
    Agreement,
    KeyState,
    PartnerKey,
    agreement_json,
    take_agreement,
)
from pharmonia.governance.documents import Fields, parse, render, require_same, time_text
from pharmonia.governance.documents_signed import (
    Domain,
    Signature,
    require_past,
    sign_digest,
    signatures_json,
    take_signatures,
    with_signature,
)
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.terms import DECIDING, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAgreement:
    """A version and the signatures beside it, sorted by key."""

    agreement: Agreement
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementHistory:
    """All versions of an agreement, oldest first; all but perhaps the last are in force or were.

    A version is accepted when the threshold of the version before it (with that version's keys), its own threshold
    (with its own keys) and every key that it brings in have signed it. A last version that lacks some is proposed.

    Args:
        versions: At least one.

    Raises:
        DocumentError: Versions that do not follow each other, a signature that its key did not make, or an earlier
            version without its signatures.
        AgreementError: A signature by a key that is retired, revoked, expired or nobody's.

    Guarantees:
        nobody_is_bound_without_a_signature: A partner enters with its own key's signature.
        a_key_that_went_never_returns: Retired and revoked keys stay named, and stay so.
    """

    versions: tuple[SignedAgreement, ...]

    def __post_init__(self) -> None:
        if not self.versions:
            raise DocumentError("an agreement has at least one version")
        for index, signed in enumerate(self.versions):
            before = self.versions[index - 1].agreement if index else None
            _check_follows(before, signed.agreement, index + 1)
            _check_signatures(before, signed)
            lacking = missing(before, signed)
            if lacking and index + 1 < len(self.versions):
                raise DocumentError(
                    f"{signed.agreement.name}, version {index + 1} lacks {'; '.join(lacking)}, but version {index + 2} "
                    f"follows; ask for a whole copy of the file"
                )

    @property
    def n_accepted(self) -> int:
        """How many versions have all their signatures."""
        return len(self.versions) - bool(self.lacking)

    @property
    def lacking(self) -> tuple[str, ...]:
        """What the last version waits for; nothing if it is accepted."""
        before = self.versions[-2].agreement if len(self.versions) > 1 else None
        return missing(before, self.versions[-1])

    @property
    def proposed(self) -> SignedAgreement | None:
        """The last version, if it still waits for signatures."""
        return self.versions[-1] if self.lacking else None

    def accepted(self) -> tuple[Agreement, ...]:
        """The versions that have all their signatures, oldest first."""
        return tuple(signed.agreement for signed in self.versions[: self.n_accepted])

    def current(self, now: datetime) -> Agreement:
        """The version in force.

        Raises:
            AgreementError: None is accepted yet, it has ended, or a signature is from the future.
        """
        accepted = self.accepted()
        if not accepted:
            name = self.versions[0].agreement.name
            raise AgreementError(f"{name}, version 1 is not in force; it lacks {'; '.join(self.lacking)}")
        last = accepted[-1]
        for signed in self.versions[: len(accepted)]:
            require_past(signed.signatures, now, f"{last.name}, version {signed.agreement.version}")
        if now > last.terms.valid_until:
            raise AgreementError(
                f"{last.name}, version {last.version} ended {time_text(last.terms.valid_until)}; amend it to go on"
            )
        return last

    def require_extends(self, known: "AgreementHistory") -> None:
        """Refuses a file that is older than one already known, or another one.

        Raises:
            DocumentError: An accepted version of the known file is missing here, or differs.
        """
        ours = [agreement.digest for agreement in self.accepted()]
        theirs = [agreement.digest for agreement in known.accepted()]
        if ours[: len(theirs)] != theirs:
            name = self.versions[0].agreement.name
            raise DocumentError(
                f"{name}: this file does not hold version {_first_difference(ours, theirs)} as you know it: an old "
                f"copy, or another consortium's; ask a second partner for its copy"
            )


def _first_difference(ours: Sequence[str], theirs: Sequence[str]) -> int:
    same = sum(1 for one, other in zip(ours, theirs, strict=False) if one == other)
    return same + 1


def missing(before: Agreement | None, signed: SignedAgreement) -> tuple[str, ...]:
    """What a version lacks to be accepted, for people; nothing if it is."""
    by = {signature.key_id: signature for signature in signed.signatures}
    new = signed.agreement
    lacking = []
    for agreement in (before, new):
        if agreement is None:
            continue
        have = {key.partner for key in agreement.keys if key.state is KeyState.ACTIVE and _decides(by, key)}
        lack = agreement.terms.thresholds.agreement - len(have & set(agreement.terms.deciding))
        if lack > 0:
            waiting = ", ".join(sorted(set(agreement.terms.deciding) - have))
            lacking.append(f"{lack} of the signatures that version {agreement.version} asks for, of: {waiting}")
    unsigned = [key for key in new_keys(before, new) if key.public.key_id not in by]
    lacking += [f"the signature by the new key {key.public.key_id} of {key.partner}" for key in unsigned]
    lacking += [
        f"the signature of {partner}, with a key that it had, on its new key; revoke its old keys if they are lost"
        for partner in sorted({key.partner for key in new_keys(before, new)})
        if not _vouches(partner, before, new, by)
    ]
    return tuple(lacking)


def _vouches(partner: str, before: Agreement | None, new: Agreement, by: dict[str, Signature]) -> bool:
    """Whether a partner itself signs its new key: nobody else puts a key in its name while it has one of its own."""
    revoked = {key.public.key_id for key in new.keys if key.state is KeyState.REVOKED}
    old = {
        key.public.key_id
        for key in (before.keys if before else ())
        if key.partner == partner and key.state is KeyState.ACTIVE
    }
    return not old - revoked or not (old - revoked).isdisjoint(by)


def _decides(by: dict[str, Signature], key: PartnerKey) -> bool:
    signature = by.get(key.public.key_id)
    return signature is not None and signature.role in DECIDING


def new_keys(before: Agreement | None, new: Agreement) -> tuple[PartnerKey, ...]:
    """Active keys that a version brings in."""
    old = {key.public.key_id for key in before.keys} if before else set()
    return tuple(key for key in new.keys if key.state is KeyState.ACTIVE and key.public.key_id not in old)


def _check_follows(before: Agreement | None, new: Agreement, number: int) -> None:
    expected = before.digest if before else None
    if new.version != number or new.previous != expected:
        raise DocumentError(
            f"{new.name}: version {new.version} does not follow the one before it; ask for a whole copy"
        )
    if before is None:
        return
    if before.terms.consortium != new.terms.consortium:
        raise DocumentError(f"{before.name}: version {number} is of {new.terms.consortium}, another consortium")
    now = {key.public.key_id: key for key in new.keys}
    for old in before.keys:
        key = now.get(old.public.key_id)
        kept = key is not None and (key.partner, key.valid_until) == (old.partner, old.valid_until)
        if key is None or not kept or (old.state is not KeyState.ACTIVE and key.state is not old.state):
            raise DocumentError(
                f"{new.name}, version {number}: the key {old.public.key_id} of {old.partner} was {old.state} and is "
                f"left out or changed; keep it as it was, retire or revoke it, and use a new key"
            )


def _check_signatures(before: Agreement | None, signed: SignedAgreement) -> None:
    new = signed.agreement
    old_keys = {key.public.key_id for key in before.keys if key.state is KeyState.ACTIVE} if before else set()
    for signature in signed.signatures:
        agreement = before if before and signature.key_id in old_keys else new
        check_signature(agreement, signature, Domain.AGREEMENT, new.digest, f"{new.name}, version {new.version}")


def check_signature(agreement: Agreement, signature: Signature, domain: Domain, digest: str, document: str) -> str:
    """The id of the partner whose active key made a signature, in a role that it has.

    Args:
        agreement: Whose keys and roles count.
        signature: To check.
        domain: What it must be for.
        digest: Of the document.
        document: Its name and version, for messages.

    Raises:
        AgreementError: A key that is retired, revoked, expired or nobody's, or a role that its owner has not.
        DocumentError: The key did not make it.
    """
    key = agreement.key(signature.key_id)
    if signature.role not in agreement.partner(key.partner).roles:
        raise AgreementError(f"{document}: {key.partner} signed as {signature.role}, a role that it does not have")
    require_made_by(key, signature, domain, digest, document)
    return key.partner


def require_made_by(key: PartnerKey, signature: Signature, domain: Domain, digest: str, document: str) -> None:
    """Refuses a signature that a key, whatever its state, did not make before its end.

    Raises:
        AgreementError: It had expired.
        DocumentError: It did not make it.
    """
    if signature.signed_at > key.valid_until:
        raise AgreementError(
            f"{document}: the key {signature.key_id} of {key.partner} expired {time_text(key.valid_until)}, before it "
            f"signed; rotate it with `pharmonia keys rotate` and amend the agreement"
        )
    if not signature.is_by(key.public, domain, digest):
        raise DocumentError(
            f"{document}: the signature by {signature.key_id} of {key.partner} is not over these bytes; the document "
            f"was changed after it was signed, ask {key.partner} for the one that it signed"
        )


def sign_proposed(history: AgreementHistory, key: PrivateKey, now: datetime) -> AgreementHistory:
    """The history with the key's signature on its proposed version.

    Raises:
        AgreementError: Nothing is proposed, the agreement knows the key neither before nor after, or it has expired.
    """
    signed = history.proposed
    if signed is None:
        last = history.versions[-1].agreement
        raise AgreementError(f"{last.name}, version {last.version} has all its signatures; there is nothing to sign")
    before = history.versions[-2].agreement if len(history.versions) > 1 else None
    role = _role(before, signed.agreement, key.public.key_id)
    return _with(history, [sign_digest(key, Domain.AGREEMENT, signed.agreement.digest, role, now)])


def _role(before: Agreement | None, new: Agreement, key_id: str) -> Role:
    if before and any(k.public.key_id == key_id and k.state is KeyState.ACTIVE for k in before.keys):
        return before.signing_role(before.key(key_id).partner)
    return new.signing_role(new.key(key_id).partner)


def merge_signatures(history: AgreementHistory, copy: AgreementHistory) -> AgreementHistory:
    """The history with the signatures on its proposed version that a copy of the same file holds.

    Raises:
        DocumentError: The copy is of other versions.
    """
    ours = [signed.agreement.digest for signed in history.versions]
    theirs = [signed.agreement.digest for signed in copy.versions]
    if ours != theirs:
        name = history.versions[-1].agreement.name
        raise DocumentError(
            f"{name}: the copy differs from version {_first_difference(ours, theirs)} on; compare with `pharmonia "
            f"consortium diff`"
        )
    return _with(history, copy.versions[-1].signatures)


def _with(history: AgreementHistory, added: Sequence[Signature]) -> AgreementHistory:
    last = history.versions[-1]
    signatures = last.signatures
    for signature in added:
        signatures = with_signature(signatures, signature)
    signed = SignedAgreement(agreement=last.agreement, signatures=signatures)
    return AgreementHistory(versions=(*history.versions[:-1], signed))


def propose(history: AgreementHistory | None, agreement: Agreement) -> AgreementHistory:
    """The history with a proposed version after its last, in place of one that nobody has signed.

    Raises:
        AgreementError: A proposed version has signatures already.
        DocumentError: The version does not follow.
    """
    versions = history.versions if history else ()
    if history and history.proposed:
        if history.proposed.signatures:
            raise AgreementError(
                f"{agreement.name}, version {history.proposed.agreement.version} is proposed and partly signed; finish "
                f"signing it, or restore the file from before it was proposed"
            )
        versions = versions[:-1]
    return AgreementHistory(versions=(*versions, SignedAgreement(agreement=agreement, signatures=())))


def encode_history(history: AgreementHistory) -> bytes:
    """The agreement's file."""
    return render(_history_json(history))


def _history_json(history: AgreementHistory) -> Json:
    versions: list[Json] = [
        {"body": agreement_json(signed.agreement), "signatures": signatures_json(signed.signatures)}
        for signed in history.versions
    ]
    return {"format": FORMAT, "versions": versions}


def decode_history(content: bytes, where: str) -> AgreementHistory:
    """The agreement in a file, every signature checked.

    Raises:
        DocumentError: Any byte differs from what was written and signed; names file or version.
        AgreementError: A signature by a key that may not sign.
        TermsError: Terms that nobody could keep.
    """
    fields = parse(content, FORMAT, where)
    history = AgreementHistory(versions=tuple(_version(inner) for inner in fields.inners("versions")))
    fields.done()
    require_same(content, _history_json(history), where)
    return history


def _version(fields: Fields) -> SignedAgreement:
    signed = SignedAgreement(agreement=take_agreement(fields.inner("body")), signatures=take_signatures(fields))
    fields.done()
    return signed
