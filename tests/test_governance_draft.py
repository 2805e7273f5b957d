"""Drafts, key cards and invitations: what people write and send before anything is signed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from governance_cases import NOW, amended, approved, founded, key_of, plan_under, terms
from pharmonia.base.errors import AgreementError, DocumentError, InputError, PharmoniaError, TermsError
from pharmonia.governance.agreement import KeyState
from pharmonia.governance.agreement_cards import (
    INVITATION_LIFE,
    KEY_LIFE,
    KeyCard,
    SignedCard,
    decode_card,
    decode_invitation,
    encode_card,
    encode_invitation,
    first_card,
    invite,
    rotation_card,
)
from pharmonia.governance.agreement_draft import Draft, draft_text, next_version, partner_text, read_draft
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.documents import MAX_DOCUMENT_BYTES
from pharmonia.governance.documents_lookalikes import skeleton
from pharmonia.governance.policy import open_policy, sign_policy
from pharmonia.governance.terms import Partner, ResourceKind, Role
from pharmonia.run.documents import (
    changing,
    read_agreement,
    read_document,
    read_plan,
    read_policy,
    write_agreement,
    write_plan,
    write_policy,
)

N_MUTATIONS = 1_500
FOUNDER = Partner(id="acme", name="Acme", roles=(Role.DATA_OWNER,), may_export=(ResourceKind.REPORT,))
NAMES = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=40).map(
    lambda text: " ".join(text.split()) or "x"
)


def cards() -> list[KeyCard]:
    return [first_card(key_of(partner), "aurora", partner, NOW).card for partner in terms().ids]


def draft(*revoked_keys: str) -> Draft:
    return Draft(terms=terms(), revoked_keys=revoked_keys)


# Terms in TOML


def test_a_new_draft_can_be_read_and_lacks_only_partners() -> None:
    first = read_draft(draft_text("aurora", 'The "Aurora" \\ project', FOUNDER, NOW).encode(), "terms.toml")
    assert first.terms.title == 'The "Aurora" \\ project'
    assert first.terms.partners == (FOUNDER,)
    with pytest.raises(TermsError, match="2 data owners or more"):
        next_version(None, first, cards()[:1])


@settings(max_examples=60)
@given(name=NAMES, roles=st.sets(st.sampled_from(list(Role)), min_size=1))
def test_a_partner_written_to_the_draft_is_the_one_that_is_read(name: str, roles: set[Role]) -> None:
    partner = Partner(id="zeta", name=name, roles=tuple(role for role in Role if role in roles), may_export=())
    text = draft_text("aurora", "Aurora", FOUNDER, NOW) + partner_text(partner)
    assume(skeleton(name) not in {skeleton(FOUNDER.id), skeleton(FOUNDER.name)})
    assert read_draft(text.encode(), "terms.toml").terms.partner("zeta") == partner


@pytest.mark.parametrize(
    "content", [b"\xff", b"a = ", b"[[" * 5000, b"x = " + b"[" * 5000, b" " * (MAX_DOCUMENT_BYTES + 1)], ids=range(5)
)
def test_what_is_not_toml_is_a_clear_error(content: bytes) -> None:
    with pytest.raises(TermsError, match=r"terms\.toml"):
        read_draft(content, "terms.toml")


def test_no_mutated_draft_crashes() -> None:
    text, rng = draft_text("aurora", "Aurora", FOUNDER, NOW).encode(), np.random.default_rng(6)
    n_refused = 0
    for _ in range(N_MUTATIONS):
        data, place = bytearray(text), int(rng.integers(len(text)))
        data[place : place + int(rng.integers(0, 4))] = rng.choice([b"", b"[", b'"', b"1", b"{}", b"=", b"\n"])
        try:
            read_draft(bytes(data), "terms.toml")
        except PharmoniaError:
            n_refused += 1
    assert n_refused > N_MUTATIONS // 4


# The version that follows


def test_cards_of_all_partners_found_a_consortium() -> None:
    version = next_version(None, draft(), cards())
    assert (version.version, version.previous) == (1, None)
    assert {key.partner for key in version.keys} == set(terms().ids)
    assert all(key.valid_until == NOW + KEY_LIFE for key in version.keys)


def test_a_rotation_retires_the_key_that_it_replaces() -> None:
    agreement = founded().current(NOW)
    card = rotation_card(key_of("acme", 7), key_of("acme").public, agreement, NOW).card
    states = {key.public.key_id: key.state for key in next_version(founded(), draft(), [card]).keys}
    assert states[key_of("acme").public.key_id] is KeyState.RETIRED
    assert states[key_of("acme", 7).public.key_id] is KeyState.ACTIVE
    with pytest.raises(AgreementError, match="belongs to no partner"):
        rotation_card(key_of("acme", 8), key_of("acme", 7).public, agreement, NOW)


def test_a_key_that_was_retired_does_not_return_by_its_card() -> None:
    agreement = amended().current(NOW + timedelta(days=31))
    old = first_card(key_of("borealis"), "aurora", "borealis", NOW).card
    with pytest.raises(TermsError, match="nothing would change in the agreement of aurora, version 2"):
        next_version(amended(), Draft(terms=agreement.terms, revoked_keys=()), [old])


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: next_version(founded(), draft(), []), "nothing would change"),
    (lambda: next_version(None, draft(), [first_card(key_of("z"), "aurora", "zeta", NOW).card]), "does not fit"),
    (lambda: next_version(None, draft(), [first_card(key_of("acme"), "boreas", "acme", NOW).card]), "does not fit"),
    (lambda: next_version(None, draft(), cards()[1:]), "without an active key: acme"),
    (
        lambda: next_version(None, draft(), [*cards(), first_card(key_of("acme"), "aurora", "borealis", NOW).card]),
        "needs one of its own",
    ),
    (
        lambda: next_version(
            founded(), draft(), [replace(cards()[0], public=key_of("z").public, replaces=cards()[1].public.key_id)]
        ),
        "which is not a key of its own",
    ),
    (lambda: next_version(founded(), draft("pk-0000000000000000"), []), "keys that nobody has"),
    (
        lambda: next_version(founded(), replace(draft(), terms=replace(terms(), consortium="boreas")), []),
        "never changes",
    ),
    (lambda: replace(terms(), publishable=(ResourceKind.DATASET,)), "are not published"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_what_does_not_fit_is_refused_by_name(bad: Callable[[], object], message: str) -> None:
    with pytest.raises(TermsError, match=message):
        bad()


def test_an_agreement_without_versions_is_none() -> None:
    with pytest.raises(DocumentError, match="at least one version"):
        AgreementHistory(versions=())


# Cards and invitations


def card_file() -> bytes:
    return encode_card(first_card(key_of("acme"), "aurora", "acme", NOW))


def invitation_file() -> bytes:
    return encode_invitation(invite(terms(), "borealis", "acme", key_of("acme"), NOW))


def test_cards_and_invitations_survive_their_files() -> None:
    assert encode_card(decode_card(card_file(), "card.json")) == card_file()
    invitation = decode_invitation(invitation_file(), "invitation.json").invitation
    assert invitation.partner == terms().partner("borealis")
    invitation.require_open(NOW + INVITATION_LIFE)
    with pytest.raises(AgreementError, match="ended 2027-01-20T12:00:00Z; ask acme for a new one"):
        invitation.require_open(NOW + INVITATION_LIFE + timedelta(seconds=1))
    with pytest.raises(TermsError, match="name no"):
        invite(terms(), "zeta", "acme", key_of("acme"), NOW)


def test_a_card_is_signed_by_its_own_key() -> None:
    stolen = first_card(key_of("acme"), "aurora", "acme", NOW)
    with pytest.raises(DocumentError, match="not signed by its own key"):
        SignedCard(card=replace(stolen.card, partner="borealis"), proof=stolen.proof)


@pytest.mark.parametrize(
    ("file", "decode"), [(card_file, decode_card), (invitation_file, decode_invitation)], ids=["card", "invitation"]
)
def test_every_mutation_is_detected(file: Callable[[], bytes], decode: Callable[[bytes, str], object]) -> None:
    content, rng = file(), np.random.default_rng(6)
    for _ in range(N_MUTATIONS):
        data, place = bytearray(content), int(rng.integers(len(content)))
        match int(rng.integers(3)):
            case 0:
                data[place] ^= 1 << int(rng.integers(8))
            case 1:
                del data[place : place + int(rng.integers(1, 30))]
            case _:
                data[place:place] = data[place : place + int(rng.integers(1, 30))]
        if data != content:
            with pytest.raises(PharmoniaError):
                decode(bytes(data), "file.json")


# On disk


def test_documents_survive_the_disk(tmp_path: Path) -> None:
    agreement = founded().current(NOW)
    plan = approved(plan_under(agreement), agreement)
    policy = sign_policy(open_policy(agreement, "acme", NOW), agreement, key_of("acme"), NOW)
    write_agreement(tmp_path / "agreement.json", founded())
    write_plan(tmp_path / "plan.json", plan)
    write_policy(tmp_path / "policy.json", policy)
    assert read_agreement(tmp_path) == read_agreement(tmp_path / "agreement.json") == founded()
    assert read_plan(tmp_path / "plan.json") == plan
    assert read_policy(tmp_path / "policy.json") == policy
    assert len(list(tmp_path.iterdir())) == 3
    for wrong in (read_plan, read_policy):
        with pytest.raises(DocumentError, match="expected a document of format"):
            wrong(tmp_path / "agreement.json")


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none"):
        read_document(tmp_path / "none")
    (tmp_path / "large").write_bytes(b" " * (MAX_DOCUMENT_BYTES + 1))
    with pytest.raises(InputError, match="it is not a signed document"):
        read_document(tmp_path / "large")
    with pytest.raises(InputError, match="cannot write beside"), changing(tmp_path / "large" / "agreement.json"):
        pass
