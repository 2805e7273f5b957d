"""What a kit's owner can know about it before starting it, and when every certificate ends."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pharmonia.base.errors import CertificateEndedError, CertificateError, KitError, PharmoniaError
from pharmonia.deploy.approvals import KitApproval, judge_approval, require_answers, require_certificate, require_valid
from pharmonia.deploy.authority import CERTIFICATE, read_authority, read_issued
from pharmonia.deploy.certificates import Certificate
from pharmonia.deploy.files import APPROVAL, MANIFEST, REQUEST, read_key_file, read_kit_file
from pharmonia.deploy.folder import (
    coordinators,
    former_partners,
    read_approval,
    read_disabled,
    read_manifest,
    read_request,
)
from pharmonia.deploy.kit import FORMER, Manifest, decode_manifest, render_kit
from pharmonia.deploy.posts import Post, posts_of, require_role
from pharmonia.deploy.requests import require_same_agreement
from pharmonia.deploy.workspace import EngineSettings
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.documents import time_text

WARN_BEFORE = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: In words.
        error: Why it will not do; None if it will.
    """

    what: str
    error: PharmoniaError | None


@dataclass(frozen=True, slots=True)
class KitCheck:
    """Everything that was looked at in a kit, in order."""

    findings: tuple[Finding, ...]

    def require(self) -> None:
        """Raises the first thing that will not do.

        Raises:
            PharmoniaError: Of the kind that it is.
        """
        for finding in self.findings:
            if finding.error is not None:
                raise finding.error


def check_kit(folder: Path, history: AgreementHistory, engine: EngineSettings, now: datetime) -> KitCheck:
    """Whether a kit is whole, of this agreement, and good to start.

    Args:
        folder: The kit's.
        history: The agreement.
        engine: What the engine's adapter of this version wants in a kit.
        now: The time.

    Raises:
        KitError, DocumentError: There is no kit, or one that does not say what it is.
    """
    manifest = read_manifest(folder)
    posts = posts_of(manifest.role)
    checks: list[tuple[str, Callable[[], None]]] = [
        ("it is of this agreement", lambda: _of_agreement(manifest, history)),
        ("the agreement gives the role", lambda: require_role(history.current(now), manifest.partner, manifest.role)),
        *(_certificate_check(folder, post, manifest) for post in posts),
        *(_key_check(folder, post) for post in posts),
        *(_time_check(folder, post, now) for post in posts),
        ("a coordinator of the agreement approved it", lambda: _approved(folder, manifest, history, now)),
        ("every file is as it was made", lambda: _untouched(folder, manifest)),
        (
            "this version and this agreement would make the same",
            lambda: _current(folder, manifest, history, engine, now),
        ),
        ("former partners are turned away", lambda: _turned_away(folder, posts, history)),
    ]
    return KitCheck(tuple(_finding(what, check) for what, check in checks))


def _finding(what: str, check: Callable[[], None]) -> Finding:
    try:
        check()
    except PharmoniaError as error:
        return Finding(what=what, error=error)
    return Finding(what=what, error=None)


def _of_agreement(manifest: Manifest, history: AgreementHistory) -> None:
    require_same_agreement(history, manifest.consortium, manifest.founded, f"the kit of {manifest.partner}")


def _certificate_check(folder: Path, post: Post, manifest: Manifest) -> tuple[str, Callable[[], None]]:
    def check() -> None:
        root = _read_certificate(folder / post.folder / "startup" / "rootCA.pem")
        approved = read_approval(folder / APPROVAL).approval.authority
        if root.fingerprint != approved.fingerprint:
            raise CertificateError(
                f"{post.folder}/startup/rootCA.pem is the authority {root.fingerprint[:16]}, not the approved one, "
                f"{approved.fingerprint[:16]} of {manifest.coordinator}; make the kit again"
            )
        require_certificate(_certificate(folder, post), post, manifest.partner, approved)

    return f"the certificate of the {post.folder} is this partner's, by the consortium's authority", check


def _key_check(folder: Path, post: Post) -> tuple[str, Callable[[], None]]:
    def check() -> None:
        path = folder / post.folder / "startup" / post.key_file
        if not _certificate(folder, post).is_for_key(read_key_file(path)):
            raise KitError(f"{path} is not the key of the certificate beside it; restore it, or request a new kit")

    return f"the key of the {post.folder} is private and fits", check


def _time_check(folder: Path, post: Post, now: datetime) -> tuple[str, Callable[[], None]]:
    def check() -> None:
        require_valid(_certificate(folder, post), f"{post.folder}/startup/{post.certificate_file}", now)

    return f"the certificate of the {post.folder} is valid today", check


def _approved(folder: Path, manifest: Manifest, history: AgreementHistory, now: datetime) -> None:
    signed = read_approval(folder / APPROVAL)
    if judge_approval(signed, history, now) != manifest.coordinator:
        raise KitError(f"{folder / MANIFEST} names another coordinator than the approval; make the kit again")
    require_answers(signed.approval, read_request(folder / REQUEST).request)


def _untouched(folder: Path, manifest: Manifest) -> None:
    for path, digest in manifest.files.items():
        if hashlib.sha256(read_kit_file(folder / path)).hexdigest() != digest:
            raise KitError(
                f"{folder / path} was changed after the kit was made; make it again with `pharmonia deploy kit`"
            )
    for post in posts_of(manifest.role):
        known = {*manifest.files, f"{post.folder}/startup/{post.key_file}"}
        for part in ("startup", "local"):
            for found in sorted((folder / post.folder / part).rglob("*")):
                if found.relative_to(folder).as_posix() not in known:
                    raise KitError(f"{found} is no file of the kit; NVFlare would use what lies here, so remove it")


def _current(
    folder: Path, manifest: Manifest, history: AgreementHistory, engine: EngineSettings, now: datetime
) -> None:
    """A kit that an earlier version made, or under an earlier agreement, may obey whom it should not."""
    signed, operating = read_approval(folder / APPROVAL), coordinators(history.current(now))
    files = render_kit(signed, manifest.coordinator, operating, manifest.server, (), engine)
    expected = decode_manifest(files[MANIFEST], MANIFEST).files
    other = sorted(path for path in {*manifest.files, *expected} if manifest.files.get(path) != expected.get(path))
    if other:
        raise KitError(
            f"{folder} has {', '.join(other)} as another version of Pharmonia or of the agreement would; make the kit "
            f"again with `pharmonia deploy kit`"
        )


def _turned_away(folder: Path, posts: tuple[Post, ...], history: AgreementHistory) -> None:
    if not any(FORMER.startswith(f"{post.folder}/") for post in posts):
        return
    missing = sorted({*former_partners(history)} - {*read_disabled(folder)})
    if missing:
        raise KitError(
            f"{folder / FORMER} lets in {', '.join(missing)}, no data owner any more; run `pharmonia deploy kit` and "
            f"start the server anew"
        )


def _certificate(folder: Path, post: Post) -> Certificate:
    return _read_certificate(folder / post.folder / "startup" / post.certificate_file)


def _read_certificate(path: Path) -> Certificate:
    try:
        return Certificate(read_kit_file(path).decode(errors="replace"))
    except CertificateError as error:
        raise CertificateError(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """When a certificate ends.

    Args:
        place: The folder in which it was found.
        name: Whom it names.
        ends: When it ceases to be valid, UTC.
    """

    place: Path
    name: str
    ends: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days; negative when it has ended."""
        return (self.ends - now).days

    def is_due(self, now: datetime) -> bool:
        """Whether it ends within thirty days, or has ended."""
        return self.ends - now <= WARN_BEFORE


def expiries(folders: tuple[Path, ...], agreement: Agreement | None) -> tuple[Expiry, ...]:
    """Every certificate of kits and authorities, the first to end first.

    An authority's folder tells of the last certificate of each partner.

    Args:
        folders: Kits and authorities.
        agreement: Its partners alone are told of by an authority, in the roles that they have; None for everybody who
            ever asked.

    Raises:
        KitError: A folder is neither a kit nor an authority.
        DocumentError, CertificateError: Something there was changed.
    """
    found = [expiry for folder in folders for expiry in _expiries(folder, agreement)]
    return tuple(sorted(found, key=lambda one: (one.ends, str(one.place), one.name)))


def _expiries(folder: Path, agreement: Agreement | None) -> list[Expiry]:
    if (folder / CERTIFICATE).is_file():
        authority = read_authority(folder)
        approvals = [signed.approval for signed in read_issued(folder)]
        issued = [one for given in approvals if _still_has(given, agreement) for one in given.certificates]
        named = [(f"authority of {authority.subject.name}", authority), *((str(one.subject), one) for one in issued)]
    else:
        posts = posts_of(read_manifest(folder).role)
        root = _read_certificate(folder / posts[0].folder / "startup" / "rootCA.pem")
        own = [_certificate(folder, post) for post in posts]
        named = [(f"authority of {root.subject.name}", root), *((str(one.subject), one) for one in own)]
    return [Expiry(place=folder, name=name, ends=certificate.ends) for name, certificate in named]


def _still_has(approval: KitApproval, agreement: Agreement | None) -> bool:
    """Whether the partner of an approval has the role for which it was given."""
    if agreement is None:
        return True
    partner = agreement.terms.partner(approval.partner)
    return partner is not None and approval.role in partner.roles


def require_lasting(found: tuple[Expiry, ...], now: datetime) -> None:
    """Refuses certificates that end within thirty days, or have ended.

    Raises:
        CertificateEndedError: Some do; names them and the remedy.
    """
    due = [one for one in found if one.is_due(now)]
    if due:
        names = "; ".join(f"{one.name} on {time_text(one.ends)}" for one in due)
        raise CertificateEndedError(f"end within {WARN_BEFORE.days} days or have ended: {names}; request new kits")
