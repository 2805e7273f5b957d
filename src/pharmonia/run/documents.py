"""Signed documents on disk: read whole, written whole, changed by one process at a time."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pharmonia.base.errors import InputError
from pharmonia.governance.agreement_cards import KeyCard, SignedCard, decode_card, encode_card
from pharmonia.governance.agreement_history import AgreementHistory, decode_history, encode_history
from pharmonia.governance.documents import MAX_DOCUMENT_BYTES
from pharmonia.governance.plan import SignedPlan
from pharmonia.governance.plan_codec import decode_plan, encode_plan
from pharmonia.governance.policy import SignedPolicy, decode_policy, encode_policy
from pharmonia.run.files import write_whole

AGREEMENT_FILE, TERMS_FILE, CARDS_FOLDER, TEMPLATES_FOLDER = "agreement.json", "terms.toml", "cards", "templates"


def read_document(path: Path) -> bytes:
    """A document's bytes.

    Raises:
        InputError: It cannot be read, or is too large for a document.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_DOCUMENT_BYTES:
        raise InputError(f"{path} has more than {MAX_DOCUMENT_BYTES:,} bytes; it is not a signed document")
    return content


def agreement_file(place: Path) -> Path:
    """The agreement's file: itself, or the one in a consortium's folder."""
    return place / AGREEMENT_FILE if place.is_dir() else place


def read_agreement(place: Path) -> AgreementHistory:
    """The agreement in a file or in a consortium's folder, every signature checked.

    Raises:
        InputError: It cannot be read.
        DocumentError, AgreementError, TermsError: As `decode_history`.
    """
    path = agreement_file(place)
    return decode_history(read_document(path), str(path))


def write_agreement(path: Path, history: AgreementHistory) -> None:
    """Write an agreement's file.

    Raises:
        InputError: It cannot be written.
    """
    write_whole(path, encode_history(history))


def read_plan(path: Path) -> SignedPlan:
    """The plan in a file, its approvals not yet judged.

    Raises:
        InputError: It cannot be read.
        DocumentError, TermsError: As `decode_plan`.
    """
    return decode_plan(read_document(path), str(path))


def write_plan(path: Path, signed: SignedPlan) -> None:
    """Write a plan's file.

    Raises:
        InputError: It cannot be written.
    """
    write_whole(path, encode_plan(signed))


def read_policy(path: Path) -> SignedPolicy:
    """The policy in a file, its signature not yet judged.

    Raises:
        InputError: It cannot be read.
        DocumentError, TermsError: As `decode_policy`.
    """
    return decode_policy(read_document(path), str(path))


def write_policy(path: Path, signed: SignedPolicy) -> None:
    """Write a policy's file.

    Raises:
        InputError: It cannot be written.
    """
    write_whole(path, encode_policy(signed))


def require_new(path: Path) -> None:
    """Refuse a name that a file has, whatever it holds.

    Raises:
        InputError: It has.
    """
    if path.exists() or path.is_symlink():
        raise InputError(f"{path} is there already; give another name, or move it away")


def write_card(path: Path, signed: SignedCard) -> None:
    """Write a key card's file.

    Raises:
        InputError: There is such a file already, perhaps a key, or it cannot be written.
    """
    require_new(path)
    write_whole(path, encode_card(signed))


def read_cards(folder: Path) -> Sequence[KeyCard]:
    """The key cards in a consortium's folder, each signed by its own key.

    Raises:
        InputError: One cannot be read.
        DocumentError, TermsError: As `decode_card`.
    """
    paths = sorted((folder / CARDS_FOLDER).glob("*.json"))
    return [decode_card(read_document(path), str(path)).card for path in paths]


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """While one process reads, changes and writes a document, others are refused, so that no signature is lost.

    Raises:
        InputError: Another process is at it, or the folder cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("wb")
    except OSError as error:
        raise InputError(f"cannot write beside {path}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"another process is changing {path}; run the command again when it is done") from error
        yield
