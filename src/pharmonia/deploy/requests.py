"""A partner's request for the certificates of a kit: signed with its identity key, judged against the agreement."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pharmonia.base.canonical import Json
from pharmonia.base.errors import AgreementError, CertificateError, DocumentError
from pharmonia.deploy.certificates import Request, Usage, require_host
from pharmonia.deploy.posts import posts_of, require_role
from pharmonia.governance.agreement import Agreement
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

FORMAT = "pharmonia/kit-request/v1"
DOMAIN = "kit-request"  # of the signature; none of another kind of record is valid for it
REQUEST_LIFE = timedelta(days=30)
MAX_HOSTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class KitRequest:
    """What a partner asks for.

    Args:
        consortium: Its identifier.
        founded: Digest of the agreement's first version, which no amendment changes.
        partner: Who asks.
        role: The one whose machines it wants to connect.
        hosts: At which a coordinator's server is reached, the first in its partners' kits; none for a data owner.
        requests: One for each post of the role, in their order.
        made_at: By the partner's clock, UTC, to the second.

    Raises:
        TermsError: A field that cannot be so.
        OptionError: A role without machines, or a host that is none.
        CertificateError: Not the certificate requests that the role needs.
    """

    consortium: str
    founded: str
    partner: str
    role: Role
    hosts: tuple[str, ...]
    requests: tuple[Request, ...]
    made_at: datetime

    def __post_init__(self) -> None:
        require_id(self.consortium, "the consortium of a kit's request")
        require_digest(self.founded, "the digest of the first version")
        require_id(self.partner, "the partner of a kit's request")
        require_time(self.made_at, f"the time of the request of {self.partner}")
        posts = posts_of(self.role)
        serves = any(post.usage is Usage.SERVE for post in posts)
        if [require_host(host) for host in self.hosts] != list(self.hosts) or len(set(self.hosts)) != len(self.hosts):
            raise CertificateError(f"{self.partner}: expected hosts once each, in their short form, got {self.hosts}")
        if bool(self.hosts) != serves or len(self.hosts) > MAX_HOSTS:
            raise CertificateError(
                f"{self.partner} as {self.role} names {f'1 to {MAX_HOSTS} hosts' if serves else 'no host'} of its "
                f"server, got {len(self.hosts)}"
            )
        asked = [request.subject for request in self.requests]
        expected = [post.subject(self.partner) for post in posts]
        if asked != expected:
            raise CertificateError(
                f"{self.partner} as {self.role} asks for certificates of {'; '.join(map(str, expected))}, not of "
                f"{'; '.join(map(str, asked))}"
            )

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name the request."""
        return document_digest(FORMAT, _request_json(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedKitRequest:
    """A request and its partner's signature over it; whether the key may sign is for `judge_request` to say.

    Args:
        request: The request.
        key_id: Of the key that signed.
        proof: 64 bytes.
    """

    request: KitRequest
    key_id: str
    proof: bytes

    def __post_init__(self) -> None:
        require_key_id(self.key_id, f"the signer of the request of {self.request.partner}")
        if len(self.proof) != SIGNATURE_BYTES:
            raise DocumentError(f"a signature has {SIGNATURE_BYTES} bytes, that of the request {len(self.proof)}")


def founding_digest(history: AgreementHistory) -> str:
    """Digest of the first version: names an agreement through all amendments."""
    return history.versions[0].agreement.digest


def sign_request(
    history: AgreementHistory,
    partner: str,
    role: Role,
    hosts: tuple[str, ...],
    requests: tuple[Request, ...],
    key: PrivateKey,
    now: datetime,
) -> SignedKitRequest:
    """A partner's request, signed.

    Raises:
        AgreementError: Not a partner, or the key is not an active one of its own.
        RefusedError: The partner has not that role.
        OptionError, CertificateError: As `KitRequest`.
    """
    agreement = history.current(now)
    require_role(agreement, partner, role)
    require_signer(agreement, key.public.key_id, partner, now)
    request = KitRequest(
        consortium=agreement.terms.consortium,
        founded=founding_digest(history),
        partner=partner,
        role=role,
        hosts=hosts,
        requests=requests,
        made_at=whole_second(now),
    )
    return SignedKitRequest(request=request, key_id=key.public.key_id, proof=key.sign(DOMAIN, request.digest.encode()))


def judge_request(signed: SignedKitRequest, history: AgreementHistory, now: datetime) -> Agreement:
    """The agreement in force, if the request is one that it allows.

    Raises:
        AgreementError: The agreement has ended, the request is of another one, or from no partner's active key, or it
            is older than thirty days.
        RefusedError: The partner has not the role.
        DocumentError: The key did not sign these bytes.
    """
    request, agreement = signed.request, history.current(now)
    require_same_agreement(history, request.consortium, request.founded, f"the request of {request.partner}")
    require_role(agreement, request.partner, request.role)
    require_signer(agreement, signed.key_id, request.partner, now)
    public = agreement.key(signed.key_id).public
    if not public.verify(signed.proof, DOMAIN, request.digest.encode()):
        raise DocumentError(
            f"the request of {request.partner} was changed after it was signed, or {signed.key_id} did not sign it; "
            f"ask {request.partner} for it again"
        )
    if request.made_at > now + CLOCK_SKEW or now > request.made_at + REQUEST_LIFE:
        raise AgreementError(
            f"the request of {request.partner} was made {time_text(request.made_at)}, and here it is {time_text(now)}; "
            f"one counts for {REQUEST_LIFE.days} days: ask for a new one, or set the clock that is wrong"
        )
    return agreement


def require_same_agreement(history: AgreementHistory, consortium: str, founded: str, what: str) -> None:
    """Refuses what was made under another agreement.

    Raises:
        AgreementError: It was; names both.
    """
    ours = history.versions[0].agreement
    if (consortium, founded) != (ours.terms.consortium, ours.digest):
        raise AgreementError(
            f"{what} is of the consortium {consortium} founded as {founded[:12]}, not of {ours.terms.consortium} "
            f"founded as {ours.digest[:12]}; use the agreement that it was made under"
        )


def require_signer(agreement: Agreement, key_id: str, partner: str, now: datetime) -> None:
    """Refuses a key that does not sign for a partner now.

    Raises:
        AgreementError: Unknown, retired, revoked, expired, or another partner's.
    """
    key = agreement.key(key_id)
    if key.partner != partner:
        raise AgreementError(f"{agreement.name}: the key {key_id} is of {key.partner}, not of {partner}")
    if now > key.valid_until:
        raise AgreementError(
            f"{agreement.name}: the key {key_id} of {partner} expired {time_text(key.valid_until)}; rotate it with "
            f"`pharmonia keys rotate` and amend the agreement"
        )


def _request_json(request: KitRequest) -> Json:
    return {
        "consortium": request.consortium,
        "founded": request.founded,
        "partner": request.partner,
        "role": request.role.value,
        "hosts": list(request.hosts),
        "requests": [one.pem for one in request.requests],
        "made_at": time_text(request.made_at),
    }


def _document(signed: SignedKitRequest) -> Json:
    return {
        "format": FORMAT,
        "body": _request_json(signed.request),
        "key_id": signed.key_id,
        "proof": signed.proof.hex(),
    }


def encode_request(signed: SignedKitRequest) -> bytes:
    """The request's file."""
    return render(_document(signed))


def decode_request(content: bytes, where: str) -> SignedKitRequest:
    """The request in a file; its signature is not yet judged.

    Raises:
        DocumentError: Not byte for byte what was written.
        TermsError, OptionError, CertificateError: As `KitRequest`.
    """
    fields = parse(content, FORMAT, where)
    signed = SignedKitRequest(
        request=_take_request(fields.inner("body")), key_id=fields.text("key_id"), proof=fields.binary("proof")
    )
    require_same(content, _document(signed), where)
    return signed


def _take_request(body: Fields) -> KitRequest:
    return KitRequest(
        consortium=body.text("consortium"),
        founded=body.text("founded"),
        partner=body.text("partner"),
        role=body.choice("role", Role),
        hosts=body.texts("hosts"),
        requests=tuple(Request(pem) for pem in body.texts("requests")),
        made_at=body.time("made_at"),
    )
