"""A kit's folder at its owner: the keys and the request made there, the kit added when the approval has come."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from pharmonia.base.errors import InputError, KeyFileError, KitError
from pharmonia.deploy.approvals import (
    SignedKitApproval,
    decode_approval,
    judge_approval,
    require_answers,
)
from pharmonia.deploy.certificates import make_request, new_key
from pharmonia.deploy.files import (
    APPROVAL,
    MANIFEST,
    REQUEST,
    create_key_file,
    read_key_file,
    read_kit_file,
    write_changed,
)
from pharmonia.deploy.kit import FORMER, Manifest, decode_manifest, keys_of, render_kit
from pharmonia.deploy.posts import Address, posts_of, require_role
from pharmonia.deploy.requests import SignedKitRequest, decode_request, encode_request, require_signer, sign_request
from pharmonia.deploy.workspace import EngineSettings
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.documents import render
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.terms import Role
from pharmonia.run.files import write_whole
from pharmonia.run.plainpaths import require_plain


def request_kit(
    folder: Path,
    history: AgreementHistory,
    partner: str,
    role: Role,
    hosts: tuple[str, ...],
    key: PrivateKey,
    now: datetime,
) -> SignedKitRequest:
    """A request for a kit, in a new folder that from now on holds its private keys.

    Args:
        folder: New, or empty.
        history: The agreement.
        partner: Who asks.
        role: Whose machines are to be connected.
        hosts: Of a coordinator's server.
        key: The partner's identity key.
        now: The time.

    Raises:
        KeyFileError: The folder has keys already, or cannot be written.
        AgreementError, RefusedError, OptionError, CertificateError: As `sign_request`.
    """
    agreement = history.current(now)
    require_role(agreement, partner, role)  # before a file is made
    require_signer(agreement, key.public.key_id, partner, now)
    if (folder / REQUEST).exists():
        raise KeyFileError(f"{folder} holds a request already; a new one needs a new folder, since it makes new keys")
    posts = posts_of(role)
    keys = [new_key() for _ in posts]
    requests = tuple(make_request(own, post.subject(partner)) for own, post in zip(keys, posts, strict=True))
    signed = sign_request(history, partner, role, hosts, requests, key, now)
    for own, post in zip(keys, posts, strict=True):
        create_key_file(folder / post.folder / "startup" / post.key_file, own)
    write_whole(folder / REQUEST, encode_request(signed))
    return signed


def read_request(path: Path) -> SignedKitRequest:
    """The request in a file.

    Raises:
        KitError: It cannot be read.
        DocumentError, TermsError, OptionError, CertificateError: As `decode_request`.
    """
    return decode_request(read_kit_file(path), str(path))


def read_approval(path: Path) -> SignedKitApproval:
    """The approval in a file.

    Raises:
        KitError: It cannot be read.
        DocumentError, TermsError, CertificateError: As `decode_approval`.
    """
    return decode_approval(read_kit_file(path), str(path))


def read_manifest(folder: Path) -> Manifest:
    """What the kit in a folder is.

    Raises:
        KitError: There is none.
        DocumentError, TermsError, OptionError: As `decode_manifest`.
    """
    return decode_manifest(read_kit_file(folder / MANIFEST), str(folder / MANIFEST))


def make_kit(
    folder: Path,
    history: AgreementHistory,
    approval: Path | None,
    server: Address | None,
    engine: EngineSettings,
    now: datetime,
) -> tuple[str, ...]:
    """Make the kit in the folder of its request, or make it anew; paths of the files that changed, sorted.

    Args:
        folder: Where the kit was requested.
        history: The agreement, as it is now.
        approval: The answer to the request; None for the one that the kit was made from.
        server: Where the server listens; None for what the kit says.
        engine: Of the engine's adapter.
        now: The time.

    Raises:
        InputError: Nothing says which approval or server, or NVFlare can start no job in a folder of that path.
        CertificateError: The approval answers another request, or its certificates are not for these keys.
        AgreementError, RefusedError, DocumentError, CertificateEndedError: As `judge_approval`.
        KeyFileError: A key is missing or can be read by others.
    """
    require_plain(folder.resolve())
    signed = _approval(folder, approval)
    if server is None and not (folder / MANIFEST).exists():
        raise InputError(f"{folder} holds no kit yet; say where the server listens with --server HOST:PORT")
    address = server or read_manifest(folder).server
    coordinator = judge_approval(signed, history, now)
    require_answers(signed.approval, read_request(folder / REQUEST).request)
    require_keys(folder, signed)
    former = former_partners(history)
    files = dict(render_kit(signed, coordinator, coordinators(history.current(now)), address, former, engine))
    if FORMER in files:
        files[FORMER] = render({"disabled_clients": sorted({*former, *read_disabled(folder)})})
    return tuple(sorted(path for path, content in files.items() if write_changed(folder / path, content)))


def _approval(folder: Path, path: Path | None) -> SignedKitApproval:
    if path is None and not (folder / APPROVAL).exists():
        raise InputError(f"{folder} holds no kit yet; name the answer to its request with --approval")
    return read_approval(path or folder / APPROVAL)


def require_keys(folder: Path, signed: SignedKitApproval) -> None:
    """Refuses a kit whose private keys are not those of its certificates, or not private.

    Raises:
        KeyFileError: Missing, readable by others, or damaged.
        KitError: Of another certificate.
    """
    for path, certificate in zip(keys_of(signed.approval), signed.approval.certificates, strict=True):
        if not certificate.is_for_key(read_key_file(folder / path)):
            raise KitError(f"{folder / path} is not the key of the certificate for {certificate.subject}; restore it")


def coordinators(agreement: Agreement) -> tuple[str, ...]:
    """Ids of an agreement's coordinators, sorted."""
    return tuple(partner.id for partner in agreement.terms.partners if Role.COORDINATOR in partner.roles)


def former_partners(history: AgreementHistory) -> tuple[str, ...]:
    """Ids of those that were data owners in an earlier version of the agreement and are not in the last, sorted."""
    *earlier, last = history.accepted()
    return tuple(sorted({partner for one in earlier for partner in one.terms.data_owners} - {*last.terms.data_owners}))


def read_disabled(folder: Path) -> tuple[str, ...]:
    """Whom the server of the kit in a folder turns away, sorted; its operator may have added to them.

    Raises:
        KitError: The file is damaged.
    """
    if not (folder / FORMER).exists():
        return ()
    try:
        tree = json.loads(read_kit_file(folder / FORMER))
    except ValueError as error:
        raise KitError(f"{folder / FORMER} is damaged; remove it, and make the kit again") from error
    names = tree.get("disabled_clients") if isinstance(tree, Mapping) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise KitError(f"{folder / FORMER} is not a list of names; remove it, and make the kit again")
    return tuple(sorted(set(names)))
