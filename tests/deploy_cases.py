"""Kits of the consortium of `governance_cases`: acme, borealis and cygnus with sites, dynamo with the server."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from governance_cases import NOW, founded, key_of, partner_key, sorted_keys, terms
from pharmonia.base.canonical import Json
from pharmonia.deploy.approvals import SignedKitApproval, approve_request, encode_approval
from pharmonia.deploy.authority import approve, create_authority
from pharmonia.deploy.certificates import MIN_KEY_BITS, Certificate, make_request, new_authority
from pharmonia.deploy.folder import make_kit, read_request, request_kit
from pharmonia.deploy.posts import Address, posts_of
from pharmonia.deploy.requests import SignedKitRequest, sign_request
from pharmonia.deploy.workspace import EngineSettings
from pharmonia.engines.nvflare.kits import server_files, site_files
from pharmonia.governance.agreement import Agreement, KeyState
from pharmonia.governance.agreement_history import AgreementHistory, propose, sign_proposed
from pharmonia.governance.terms import Partner, Role
from pharmonia.run.files import write_whole

HOST = "fl.dynamo.example"
SERVER = Address(host=HOST, port=8002)
ENGINE = EngineSettings(site=site_files(), server=server_files())
LATER = NOW + timedelta(days=10)


@cache
def tls_key(name: str) -> bytes:
    """The same private key all session long, of the fewest bits that are accepted: ours take a tenth of a second."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=MIN_KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@cache
def authority_of(consortium: str) -> tuple[bytes, Certificate]:
    """A consortium's authority."""
    return new_authority(consortium, NOW)


def request_of(partner: str, role: Role, hosts: tuple[str, ...] = ()) -> SignedKitRequest:
    """A partner's request for its role, signed by itself."""
    requests = tuple(make_request(tls_key(partner), post.subject(partner)) for post in posts_of(role))
    return sign_request(founded(), partner, role, hosts, requests, key_of(partner), NOW)


@cache
def site_request() -> SignedKitRequest:
    """Of borealis."""
    return request_of("borealis", Role.DATA_OWNER)


@cache
def server_request() -> SignedKitRequest:
    """Of dynamo."""
    return request_of("dynamo", Role.COORDINATOR, (HOST, "10.1.2.3"))


def approval_of(signed: SignedKitRequest) -> SignedKitApproval:
    """By dynamo."""
    key, authority = authority_of("aurora")
    return approve_request(signed, founded(), authority, key, key_of("dynamo"), NOW)


def make_authority(folder: Path, now: datetime = NOW) -> Path:
    """Dynamo's authority in a folder."""
    create_authority(folder, founded(), key_of("dynamo"), now)
    return folder


def make_folder(
    root: Path, authority: Path, partner: str, role: Role, server: Address = SERVER, now: datetime = NOW
) -> Path:
    """A kit, made as its owner and the coordinator would."""
    return make_under(root, authority, founded(), partner, role, server, now)


def make_under(
    root: Path,
    authority: Path,
    history: AgreementHistory,
    partner: str,
    role: Role,
    server: Address = SERVER,
    now: datetime = NOW,
) -> Path:
    """A kit under some version of the agreement."""
    folder = root / f"{partner}-{role}"
    hosts = (server.host,) if role is Role.COORDINATOR else ()
    request_kit(folder, history, partner, role, hosts, key_of(partner), now)
    signed = approve(authority, read_request(folder / "request.json"), history, key_of("dynamo"), now)
    answer = root / f"{partner}-{role}.json"
    write_whole(answer, encode_approval(signed))
    make_kit(folder, history, answer, server, ENGINE, now)
    return folder


def amended_by(history: AgreementHistory, partners: tuple[Partner, ...]) -> AgreementHistory:
    """The agreement amended to have these partners; the keys of those who left are revoked."""
    last = history.versions[-1].agreement
    ids = {partner.id for partner in partners}
    kept = [key if key.partner in ids else replace(key, state=KeyState.REVOKED) for key in last.keys]
    known = {key.partner for key in last.keys}
    added = [partner_key(partner) for partner in sorted(ids - known)]
    recipients = tuple(name for name in last.terms.trunk_recipients if name in ids)
    n_owners = sum(Role.DATA_OWNER in partner.roles for partner in partners)
    thresholds = replace(last.terms.thresholds, plan=n_owners // 2 + 1)
    changed = replace(last.terms, partners=partners, trunk_recipients=recipients, thresholds=thresholds)
    version = Agreement(
        version=last.version + 1, previous=last.digest, terms=changed, keys=sorted_keys([*kept, *added])
    )
    amended = propose(history, version)
    active = sorted({key.partner for key in [*last.keys, *version.keys] if key.state is KeyState.ACTIVE})
    for partner in active:
        amended = sign_proposed(amended, key_of(partner), NOW) if amended.proposed else amended
    return amended


@cache
def with_gamma() -> AgreementHistory:
    """Gamma Labs joins as a data owner."""
    gamma = Partner(id="gamma", name="Gamma Labs", roles=(Role.DATA_OWNER,), may_export=())
    partners = sorted([*terms().partners, gamma], key=lambda partner: partner.id)
    return amended_by(founded(), tuple(partners))


@cache
def without_cygnus() -> AgreementHistory:
    """Cygnus leaves."""
    return amended_by(founded(), tuple(partner for partner in terms().partners if partner.id != "cygnus"))


@cache
def with_zenith() -> AgreementHistory:
    """A second coordinator joins."""
    zenith = Partner(id="zenith", name="Zenith Services", roles=(Role.COORDINATOR,), may_export=())
    return amended_by(founded(), tuple(sorted([*terms().partners, zenith], key=lambda partner: partner.id)))


@cache
def zenith_left() -> AgreementHistory:
    """And leaves."""
    return amended_by(with_zenith(), terms().partners)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def mapping(value: Json) -> dict[str, Json]:
    """A tree's object, for tests that look into one."""
    assert isinstance(value, dict)
    return value
