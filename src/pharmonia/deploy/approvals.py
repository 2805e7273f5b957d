"""The consortium's answer to a request: certificates by its authority, signed with a coordinator's identity key.

That signature is what lets a partner trust the authority: the key is in the agreement, which the partner signed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pharmonia.base.canonical import Json
from pharmonia.base.errors import CertificateEndedError, CertificateError, DocumentError
from pharmonia.deploy.certificates import Certificate, issue
from pharmonia.deploy.posts import Post, posts_of, require_role
from pharmonia.deploy.requests import (
    KitRequest,
    SignedKitRequest,
    founding_digest,
    judge_request,
    require_same_agreement,
    require_signer,
)
from pharmonia.governance.agreement import Agreement, KeyState
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.documents import (
    Fields,
    document_digest,
    parse,
    render,
    require_digest,
    require_id,
    require_key_id,
    require_same,
    require_time,
    time_text,
    whole_second,
)
from pharmonia.governance.documents_signed import CLOCK_SKEW
from pharmonia.governance.identity import SIGNATURE_BYTES, PrivateKey
from pharmonia.governance.terms import Role

FORMAT = "pharmonia/kit-approval/v1"
DOMAIN = "kit-approval"
CERTIFICATE_LIFE = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class KitApproval:
    """The certificates of one kit.

    Args:
        consortium: Its identifier.
        founded: Digest of the agreement's first version.
        partner: Whose kit it is.
        role: Whose machines it connects.
        request: Digest of the request that it answers.
        authority: The certificate that every machine of the consortium trusts, and no other.
        certificates: One for each post of the role, in their order.
        approved_at: By the coordinator's clock, UTC, to the second.

    Raises:
        TermsError: A field that cannot be so.
        CertificateError: Certificates of another partner, use or authority.
    """

    consortium: str
    founded: str
    partner: str
    role: Role
    request: str
    authority: Certificate
    certificates: tuple[Certificate, ...]
    approved_at: datetime

    def __post_init__(self) -> None:
        require_id(self.consortium, "the consortium of a kit's approval")
        require_digest(self.founded, "the digest of the first version")
        require_id(self.partner, "the partner of a kit's approval")
        require_digest(self.request, "the digest of the request")
        require_time(self.approved_at, f"the time of the approval for {self.partner}")
        posts = posts_of(self.role)
        if len(self.certificates) != len(posts):
            raise CertificateError(f"{self.partner} as {self.role} has {len(posts)} certificates, got another number")
        for post, certificate in zip(posts, self.certificates, strict=True):
            require_certificate(certificate, post, self.partner, self.authority)

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name the approval."""
        return document_digest(FORMAT, _approval_json(self))

    def ends(self) -> datetime:
        """When the first of its certificates ceases to be valid."""
        return min(certificate.ends for certificate in (self.authority, *self.certificates))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedKitApproval:
    """An approval and a coordinator's signature; whether the key may sign is for `judge_approval` to say."""

    approval: KitApproval
    key_id: str
    proof: bytes

    def __post_init__(self) -> None:
        require_key_id(self.key_id, f"the signer of the approval for {self.approval.partner}")
        if len(self.proof) != SIGNATURE_BYTES:
            raise DocumentError(f"a signature has {SIGNATURE_BYTES} bytes, that of the approval {len(self.proof)}")


def require_certificate(certificate: Certificate, post: Post, partner: str, authority: Certificate) -> None:
    """Refuses a certificate that is not this partner's for this post by this authority.

    Raises:
        CertificateError: It is not; says what differs.
    """
    expected = post.subject(partner)
    if certificate.subject != expected:
        raise CertificateError(
            f"{post.certificate_file} of {post.folder} names {certificate.subject}, expected {expected}"
        )
    if certificate.usage is not post.usage:
        raise CertificateError(
            f"{post.certificate_file} of {post.folder} is not a certificate to {post.usage}; use the one that was "
            f"issued for this kit"
        )
    if not certificate.is_signed_by(authority):
        raise CertificateError(
            f"{post.certificate_file} of {post.folder} is not by the authority {authority.fingerprint[:16]} of "
            f"{authority.subject.name} but by another; ask the coordinator of this consortium for an approval"
        )


def require_valid(certificate: Certificate, what: str, now: datetime) -> None:
    """Refuses a certificate outside its time.

    Raises:
        CertificateEndedError: It has ended, or has not begun.
    """
    if now > certificate.ends:
        raise CertificateEndedError(
            f"{what} expired {time_text(certificate.ends)}; make a new kit with `pharmonia deploy request`"
        )
    if now < certificate.begins:
        raise CertificateEndedError(
            f"{what} begins {time_text(certificate.begins)}, but here it is {time_text(now)}; set the clock"
        )


def require_coordinator(agreement: Agreement, key_id: str, now: datetime) -> str:
    """The coordinator whose active key it is.

    Raises:
        AgreementError: Nobody's active key.
        RefusedError: Its owner is not a coordinator.
    """
    partner = agreement.key(key_id).partner
    require_signer(agreement, key_id, partner, now)
    require_role(agreement, partner, Role.COORDINATOR)
    return partner


def approve_request(
    signed: SignedKitRequest,
    history: AgreementHistory,
    authority: Certificate,
    authority_key: bytes,
    key: PrivateKey,
    now: datetime,
) -> SignedKitApproval:
    """Certificates for a request that the agreement allows, for a year at most and no longer than the agreement.

    Raises:
        AgreementError, RefusedError, DocumentError: As `judge_request`, or the approver is not a coordinator.
        CertificateError: The authority is of another consortium, or the key is not its own.
        CertificateEndedError: The authority has ended.
    """
    agreement, request = judge_request(signed, history, now), signed.request
    require_coordinator(agreement, key.public.key_id, now)
    if authority.subject.name != request.consortium:
        raise CertificateError(f"the authority is of {authority.subject.name}, not of {request.consortium}")
    require_valid(authority, f"the authority of {request.consortium}", now)
    ends = min(whole_second(now) + CERTIFICATE_LIFE, agreement.terms.valid_until)
    approval = KitApproval(
        consortium=request.consortium,
        founded=founding_digest(history),
        partner=request.partner,
        role=request.role,
        request=request.digest,
        authority=authority,
        certificates=_issue_all(request, authority, authority_key, whole_second(now), ends),
        approved_at=whole_second(now),
    )
    return SignedKitApproval(
        approval=approval, key_id=key.public.key_id, proof=key.sign(DOMAIN, approval.digest.encode())
    )


def _issue_all(
    request: KitRequest, authority: Certificate, key: bytes, now: datetime, ends: datetime
) -> tuple[Certificate, ...]:
    return tuple(
        issue(
            authority=authority,
            key=key,
            request=one,
            hosts=post.hosts(request.partner, request.hosts),
            usage=post.usage,
            now=now,
            ends=ends,
        )
        for post, one in zip(posts_of(request.role), request.requests, strict=True)
    )


def judge_approval(signed: SignedKitApproval, history: AgreementHistory, now: datetime) -> str:
    """The coordinator that gave this approval, if it is one still, and the partner still has the role.

    The signer may have rotated its key since, but not lost it: an active or a retired key of a coordinator counts.

    Raises:
        AgreementError: Another agreement, or one that has ended.
        RefusedError: The partner, or the signer's owner, has not the role.
        DocumentError: Nobody's key, a revoked one, or not over these bytes.
        CertificateEndedError: A certificate in it has ended.
    """
    approval, agreement = signed.approval, history.current(now)
    what = f"the approval for {approval.partner}"
    require_same_agreement(history, approval.consortium, approval.founded, what)
    require_role(agreement, approval.partner, approval.role)
    signer = next((key for key in agreement.keys if key.public.key_id == signed.key_id), None)
    if signer is None or signer.state is KeyState.REVOKED or approval.approved_at > signer.valid_until:
        raise DocumentError(f"{what} is signed by {signed.key_id}, which signs for no partner; ask for another one")
    require_role(agreement, signer.partner, Role.COORDINATOR)
    if not signer.public.verify(signed.proof, DOMAIN, approval.digest.encode()):
        raise DocumentError(f"{what} was changed after {signer.partner} signed it; ask {signer.partner} for it again")
    if approval.approved_at > now + CLOCK_SKEW:
        raise DocumentError(f"{what} is of {time_text(approval.approved_at)}, and here it is {time_text(now)}")
    require_valid(approval.authority, f"the authority of {approval.consortium}", now)
    for post, certificate in zip(posts_of(approval.role), approval.certificates, strict=True):
        require_valid(certificate, f"{post.certificate_file} of {post.folder}", now)
    return signer.partner


def require_answers(approval: KitApproval, request: KitRequest) -> None:
    """Refuses an approval of another request.

    Raises:
        CertificateError: It is.
    """
    if approval.request != request.digest:
        raise CertificateError(
            f"the approval is for the request {approval.request[:12]} of {approval.partner}, not for this one, "
            f"{request.digest[:12]} of {request.partner}; send your request.json and put the answer to it here"
        )


def _approval_json(approval: KitApproval) -> Json:
    return {
        "consortium": approval.consortium,
        "founded": approval.founded,
        "partner": approval.partner,
        "role": approval.role.value,
        "request": approval.request,
        "authority": approval.authority.pem,
        "certificates": [certificate.pem for certificate in approval.certificates],
        "approved_at": time_text(approval.approved_at),
    }


def _document(signed: SignedKitApproval) -> Json:
    return {
        "format": FORMAT,
        "body": _approval_json(signed.approval),
        "key_id": signed.key_id,
        "proof": signed.proof.hex(),
    }


def encode_approval(signed: SignedKitApproval) -> bytes:
    """The approval's file."""
    return render(_document(signed))


def decode_approval(content: bytes, where: str) -> SignedKitApproval:
    """The approval in a file; its signature is not yet judged.

    Raises:
        DocumentError: Not byte for byte what was written.
        TermsError, CertificateError: As `KitApproval`.
    """
    fields = parse(content, FORMAT, where)
    signed = SignedKitApproval(
        approval=_take_approval(fields.inner("body")), key_id=fields.text("key_id"), proof=fields.binary("proof")
    )
    require_same(content, _document(signed), where)
    return signed


def _take_approval(body: Fields) -> KitApproval:
    return KitApproval(
        consortium=body.text("consortium"),
        founded=body.text("founded"),
        partner=body.text("partner"),
        role=body.choice("role", Role),
        request=body.text("request"),
        authority=Certificate(body.text("authority")),
        certificates=tuple(Certificate(pem) for pem in body.texts("certificates")),
        approved_at=body.time("approved_at"),
    )
