"""A start-up kit as bytes: everything but the private keys, the same bytes for the same approval and address."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pharmonia.base.canonical import Json
from pharmonia.base.errors import CertificateError
from pharmonia.deploy.approvals import KitApproval, SignedKitApproval, encode_approval
from pharmonia.deploy.compose import compose_file
from pharmonia.deploy.files import APPROVAL, MANIFEST
from pharmonia.deploy.helm import helm_files
from pharmonia.deploy.posts import SERVER, Address, posts_of
from pharmonia.deploy.services import service_file
from pharmonia.deploy.workspace import EngineSettings, workspace_files
from pharmonia.governance.documents import Fields, parse, render, require_digest, require_id, require_same
from pharmonia.governance.terms import Role

FORMAT = "pharmonia/kit/v1"
FORMER = "server/disabled_clients.json"  # NVFlare reads it when its server starts, and its operator may add to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a kit is, and the SHA-256 of each file that its processes read but keys and the list of former partners.

    Raises:
        TermsError: A field that cannot be so.
        OptionError: No address.
    """

    consortium: str
    founded: str
    partner: str
    role: Role
    coordinator: str
    server: Address
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        for text, what in ((self.consortium, "consortium"), (self.partner, "partner"), (self.coordinator, "server")):
            require_id(text, f"the {what} of a kit")
        require_digest(self.founded, "the digest of the first version")
        for path, digest in self.files.items():
            require_digest(digest, f"the digest of {path}")


def render_kit(
    signed: SignedKitApproval,
    coordinator: str,
    operating: tuple[str, ...],
    server: Address,
    former: tuple[str, ...],
    engine: EngineSettings,
) -> Mapping[str, bytes]:
    """The kit's files by path.

    Args:
        signed: The approval, judged already.
        coordinator: Whose server it is.
        operating: The coordinators, whose operators that server obeys.
        server: Where that listens, as seen from this kit's machine.
        former: Partners that were data owners and are not any more; their certificates no longer count.
        engine: Of the engine's adapter.

    Raises:
        CertificateError: A server's own kit for a host that its certificate does not name.
    """
    approval = signed.approval
    files: dict[str, bytes] = {APPROVAL: encode_approval(signed)}
    for post, certificate in zip(posts_of(approval.role), approval.certificates, strict=True):
        if post == SERVER and server.host not in certificate.hosts:
            raise CertificateError(
                f"the server's certificate is for {', '.join(certificate.hosts)}, not for {server.host}; name one of "
                f"these, or request a kit with --host {server.host}"
            )
        made = workspace_files(post, approval.consortium, approval.partner, coordinator, operating, server, engine)
        made[f"startup/{post.certificate_file}"] = certificate.pem.encode()
        made["startup/rootCA.pem"] = approval.authority.pem.encode()
        files.update({f"{post.folder}/{path}": content for path, content in made.items()})
    manifest = Manifest(
        consortium=approval.consortium,
        founded=approval.founded,
        partner=approval.partner,
        role=approval.role,
        coordinator=coordinator,
        server=server,
        files={path: hashlib.sha256(content).hexdigest() for path, content in files.items()},
    )
    if approval.role is Role.COORDINATOR:
        files[FORMER] = render({"disabled_clients": list(former)})
    return {**files, **_starters(approval, server), MANIFEST: render(_document(manifest))}


def _starters(approval: KitApproval, server: Address) -> Mapping[str, bytes]:
    """Files that start the service; no process reads them, and they are the owner's to edit."""
    post = posts_of(approval.role)[0]
    return {
        f"{post.folder}.service": service_file(post, approval.consortium, approval.partner, server),
        "compose.yaml": compose_file(approval, server),
        **{f"helm/{path}": content for path, content in helm_files(approval, server).items()},
    }


def keys_of(approval: KitApproval) -> tuple[str, ...]:
    """Paths of the kit's private keys, one for each certificate, in their order."""
    return tuple(f"{post.folder}/startup/{post.key_file}" for post in posts_of(approval.role))


def _document(manifest: Manifest) -> Json:
    return {
        "format": FORMAT,
        "consortium": manifest.consortium,
        "founded": manifest.founded,
        "partner": manifest.partner,
        "role": manifest.role.value,
        "coordinator": manifest.coordinator,
        "server": str(manifest.server),
        "files": manifest.files,
    }


def decode_manifest(content: bytes, where: str) -> Manifest:
    """The manifest in a kit's `kit.json`.

    Raises:
        DocumentError: Not byte for byte what was written.
        TermsError, OptionError: As `Manifest`.
    """
    fields = parse(content, FORMAT, where)
    listed: Fields = fields.inner("files")
    manifest = Manifest(
        consortium=fields.text("consortium"),
        founded=fields.text("founded"),
        partner=fields.text("partner"),
        role=fields.choice("role", Role),
        coordinator=fields.text("coordinator"),
        server=Address.parse(fields.text("server")),
        files={path: listed.text(path) for path in listed.names()},
    )
    require_same(content, _document(manifest), where)
    return manifest
