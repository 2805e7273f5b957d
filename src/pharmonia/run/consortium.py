"""A consortium's folder: terms, key cards, the agreement made from them, and papers for lawyers.

    terms.toml       what the partners are to agree on, written by hand
    cards/*.json     key cards, as partners sent them
    agreement.json   all versions with their signatures
    templates/*.md   papers made from the terms

Only the agreement counts; the rest is how it comes about.
"""

from datetime import datetime
from pathlib import Path

from pharmonia.base.errors import InputError, TermsError
from pharmonia.governance.agreement_cards import SignedInvitation, encode_invitation, first_card, invite
from pharmonia.governance.agreement_draft import Draft, draft_text, next_version, partner_text, read_draft
from pharmonia.governance.agreement_history import AgreementHistory, merge_signatures, propose, sign_proposed
from pharmonia.governance.agreement_pack import template_pack
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.terms import Partner
from pharmonia.run.documents import (
    AGREEMENT_FILE,
    CARDS_FOLDER,
    TEMPLATES_FOLDER,
    TERMS_FILE,
    agreement_file,
    changing,
    read_agreement,
    read_cards,
    read_document,
    write_agreement,
    write_card,
)
from pharmonia.run.files import write_whole


def found(folder: Path, consortium: str, title: str, founder: Partner, key: PrivateKey, now: datetime) -> None:
    """Write a draft of terms, the founder's key card and the papers into a new folder.

    Raises:
        InputError: The folder holds terms already, or cannot be written.
        TermsError: An id, title or name that cannot be so.
    """
    if (folder / TERMS_FILE).exists():
        raise InputError(f"{folder / TERMS_FILE} exists; edit it, or choose another folder")
    text = draft_text(consortium, title, founder, now).encode()
    draft = read_draft(text, TERMS_FILE)
    write_whole(folder / TERMS_FILE, text)
    write_card(_card_file(folder, key), first_card(key, consortium, founder.id, now))
    _write_papers(folder, draft)


def _card_file(folder: Path, key: PrivateKey) -> Path:
    return folder / CARDS_FOLDER / f"{key.public.key_id}.json"


def _write_papers(folder: Path, draft: Draft) -> None:
    for name, text in template_pack(draft.terms).items():
        write_whole(folder / TEMPLATES_FOLDER / name, text.encode())


def read_terms(folder: Path) -> Draft:
    """The terms as they are written in a consortium's folder.

    Raises:
        InputError: They cannot be read.
        TermsError: They cannot be kept.
    """
    path = folder / TERMS_FILE
    return read_draft(read_document(path), str(path))


def invite_partner(folder: Path, partner: Partner, invited_by: str, key: PrivateKey, now: datetime) -> SignedInvitation:
    """Add a partner to the terms, if they do not name it yet, and write its invitation.

    Raises:
        InputError: A file cannot be read or written.
        TermsError: The partner's id or name is taken, or could be taken for another's.
    """
    path = folder / TERMS_FILE
    with changing(path):
        content = read_document(path)
        draft = read_draft(content, str(path))
        known = draft.terms.partner(partner.id)
        if known is None:
            content = content.rstrip(b"\n") + b"\n" + partner_text(partner).encode()
            draft = read_draft(content, str(path))
            write_whole(path, content)
        elif (known.name, known.roles) != (partner.name, partner.roles):
            raise TermsError(f"{path} has {partner.id} as {known.name}, {', '.join(known.roles)}; invite it as that")
    signed = invite(draft.terms, partner.id, invited_by, key, now)
    write_whole(folder / f"invitation-{partner.id}.json", encode_invitation(signed))
    _write_papers(folder, draft)
    return signed


def amend(folder: Path) -> AgreementHistory:
    """Propose the version that terms and key cards make, as the first or the next, and write the papers anew.

    Raises:
        InputError: A file cannot be read or written.
        TermsError: Terms that cannot be kept, cards that do not fit, or nothing that would change.
        AgreementError: A version is proposed and partly signed.
    """
    path = folder / AGREEMENT_FILE
    with changing(path):
        draft = read_terms(folder)
        history = read_agreement(path) if path.exists() else None
        history = propose(history, next_version(history, draft, read_cards(folder)))
        write_agreement(path, history)
    _write_papers(folder, draft)
    return history


def sign(place: Path, key: PrivateKey, now: datetime) -> AgreementHistory:
    """Sign the proposed version in an agreement's file, or in a consortium's folder.

    Raises:
        InputError: The file cannot be read or written.
        AgreementError: Nothing is proposed, or the key may not sign it.
    """
    path = agreement_file(place)
    with changing(path):
        history = sign_proposed(read_agreement(path), key, now)
        write_agreement(path, history)
    return history


def collect(place: Path, copies: list[Path]) -> AgreementHistory:
    """Add the signatures that copies of an agreement's file hold.

    Raises:
        InputError: A file cannot be read or written.
        DocumentError: A copy is of other versions.
    """
    path = agreement_file(place)
    with changing(path):
        history = read_agreement(path)
        for copy in copies:
            history = merge_signatures(history, read_agreement(copy))
        write_agreement(path, history)
    return history
