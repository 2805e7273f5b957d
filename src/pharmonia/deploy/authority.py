"""The consortium's authority on disk: made once by a coordinator, and a copy of every approval that it gave."""

from datetime import datetime
from pathlib import Path

from pharmonia.base.errors import KitError
from pharmonia.deploy.approvals import (
    SignedKitApproval,
    approve_request,
    decode_approval,
    encode_approval,
    require_coordinator,
)
from pharmonia.deploy.certificates import Certificate, new_authority
from pharmonia.deploy.files import create_key_file, read_key_file, read_kit_file
from pharmonia.deploy.requests import SignedKitRequest
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.identity import PrivateKey
from pharmonia.run.files import write_whole

KEY, CERTIFICATE, ISSUED = "authority.key", "authority.pem", "issued"


def create_authority(folder: Path, history: AgreementHistory, key: PrivateKey, now: datetime) -> Certificate:
    """A new authority, in a folder that its coordinator keeps to itself.

    Raises:
        AgreementError: No agreement is in force, or the key is nobody's.
        RefusedError: The key is not a coordinator's.
        KeyFileError: There is one already, or it cannot be written.
    """
    agreement = history.current(now)
    require_coordinator(agreement, key.public.key_id, now)
    private, certificate = new_authority(agreement.terms.consortium, now.replace(microsecond=0))
    create_key_file(folder / KEY, private)
    write_whole(folder / CERTIFICATE, certificate.pem.encode())
    return certificate


def approve(
    folder: Path, signed: SignedKitRequest, history: AgreementHistory, key: PrivateKey, now: datetime
) -> SignedKitApproval:
    """The approval of a request by the authority in a folder, which keeps a copy.

    Raises:
        KitError, KeyFileError: There is no authority, or its key can be read by others.
        AgreementError, RefusedError, DocumentError, CertificateError: As `approve_request`.
    """
    authority = read_authority(folder)
    approval = approve_request(signed, history, authority, read_key_file(folder / KEY), key, now)
    one = approval.approval
    name = f"{one.partner}-{one.role}-{one.certificates[0].fingerprint[:16]}.json"
    write_whole(folder / ISSUED / name, encode_approval(approval))
    return approval


def read_authority(folder: Path) -> Certificate:
    """The authority's certificate.

    Raises:
        KitError: There is none.
        CertificateError: Damaged.
    """
    if not (folder / CERTIFICATE).is_file():
        raise KitError(f"{folder} holds no authority; make one with `pharmonia deploy authority`")
    return Certificate(read_kit_file(folder / CERTIFICATE).decode(errors="replace"))


def read_issued(folder: Path) -> tuple[SignedKitApproval, ...]:
    """The approvals that an authority gave, the last one for each partner and role.

    Raises:
        DocumentError, CertificateError: One was changed.
    """
    found = [decode_approval(read_kit_file(path), str(path)) for path in sorted((folder / ISSUED).glob("*.json"))]
    last = {(one.approval.partner, one.approval.role): one for one in sorted(found, key=_approved_at)}
    return tuple(last[name] for name in sorted(last))


def _approved_at(signed: SignedKitApproval) -> datetime:
    return signed.approval.approved_at
