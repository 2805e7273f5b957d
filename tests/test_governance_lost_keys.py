"""Keys that were rotated, lost or end soon: a policy signed anew, and what two partners can still amend."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from governance_cases import END, NOW, founded, key_of, second_version
from pharmonia.base.errors import AgreementError, DocumentError
from pharmonia.cli.main import app
from pharmonia.governance.agreement_cards import KEY_LIFE, SignedCard, first_card
from pharmonia.governance.agreement_history import propose
from pharmonia.governance.agreement_text import ENDS_SOON, warnings
from pharmonia.governance.documents_signed import Domain, sign_digest
from pharmonia.governance.policy import SignedPolicy, newer, open_policy, sign_anew
from pharmonia.governance.terms import Role
from pharmonia.run.documents import read_policy, write_card
from pharmonia.run.keyfiles import read_key


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def key_id(key: Path) -> str:
    return run("keys", "show", key).split()[2]


def sign(place: Path, *keys: str) -> str:
    return [run("consortium", "sign", place / "aurora", "--key", place / f"{key}.key") for key in keys][-1]


def join(place: Path, key: str) -> None:
    """Another key of borealis, whose card goes into the consortium's folder."""
    run("keys", "create", place / f"{key}.key")
    card = place / "aurora" / "cards" / f"{key}.json"
    run("consortium", "join", place / "aurora/invitation-borealis.json", "--key", place / f"{key}.key", "--card", card)


def revoke_key(place: Path, key: str) -> None:
    terms = place / "aurora" / "terms.toml"
    text = terms.read_text(encoding="utf-8")
    lost = f'revoked_keys = ["{key_id(place / f"{key}.key")}"]'
    terms.write_text(text.replace("revoked_keys = []", lost), encoding="utf-8")


@pytest.fixture(scope="module")
def drafted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data owners with a key each, and the draft of their agreement."""
    place = tmp_path_factory.mktemp("pair")
    home, key = place / "aurora", place / "acme.key"
    run("keys", "create", key)
    naming = ("--consortium", "aurora", "--title", "Aurora", "--partner", "acme", "--name", "Acme Pharma")
    run("consortium", "init", home, *naming, "--role", "data-owner", "--role", "coordinator", "--key", key)
    run("consortium", "invite", home, "borealis", "--name", "B", "--role", "data-owner", "--key", key, "--by", "acme")
    join(place, "borealis")
    return place


@pytest.fixture(scope="module")
def founded_pair(drafted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both have signed, and borealis has a policy that narrows what it grants."""
    place = tmp_path_factory.mktemp("founded") / "pair"
    shutil.copytree(drafted, place)
    run("consortium", "amend", place / "aurora")
    assert "has all its signatures" in sign(place, "acme", "borealis")
    papers = ("--agreement", place / "aurora", "--key", place / "borealis.key")
    run("policy", "open", place / "policy.json", *papers)
    run("policy", "revoke", place / "policy.json", *papers)
    run("policy", "grant", place / "policy.json", *papers, "--action", "train-on", "--resource", "dataset")
    return place


@pytest.fixture(scope="module")
def rotated_pair(founded_pair: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 2 is in force, which retires the key that signed the policy."""
    place = tmp_path_factory.mktemp("rotated") / "pair"
    shutil.copytree(founded_pair, place)
    home, card = place / "aurora", place / "aurora/cards/new.json"
    run("keys", "rotate", place / "borealis.key", place / "new.key", "--consortium", home, "--card", card)
    run("consortium", "amend", home)
    assert "has all its signatures" in sign(place, "acme", "borealis", "new")
    return place


@pytest.fixture
def pair(founded_pair: Path, tmp_path: Path) -> Path:
    shutil.copytree(founded_pair, tmp_path / "pair")
    return tmp_path / "pair"


@pytest.fixture
def rotated(rotated_pair: Path, tmp_path: Path) -> Path:
    shutil.copytree(rotated_pair, tmp_path / "pair")
    return tmp_path / "pair"


# A policy after its owner's key went


def papers(place: Path, key: str) -> tuple[str | Path, ...]:
    return (place / "policy.json", "--agreement", place / "aurora", "--key", place / f"{key}.key")


def test_after_a_rotation_a_policy_is_signed_anew_says_the_same_and_replaces_the_old_one(rotated: Path) -> None:
    old = read_policy(rotated / "policy.json").policy
    few = ("--action", "audit", "--resource", "dataset")
    for change in (("grant", *papers(rotated, "new"), *few), ("revoke", *papers(rotated, "new"))):
        with pytest.raises(
            AgreementError, match=r"is retired; sign it anew with `pharmonia policy sign` and an active"
        ):
            run("policy", *change)
    assert "policy of borealis in aurora, serial 4" in run("policy", "sign", *papers(rotated, "new"))
    new = read_policy(rotated / "policy.json").policy
    assert (old.serial, old.grants, old.min_cohort, old.valid_until) == (
        3,
        new.grants,
        new.min_cohort,
        new.valid_until,
    )
    assert newer(old, new) == new
    assert "serial 4" in run("policy", "show", *papers(rotated, "new")[:3])
    assert "serial 5" in run("policy", "revoke", *papers(rotated, "new"), "--grant", "2")


def test_only_the_owner_signs_anew_what_it_signed_with_a_key_of_now(rotated: Path) -> None:
    path = rotated / "policy.json"
    before = path.read_bytes()
    with pytest.raises(DocumentError, match="is signed by acme; only borealis may sign it"):
        run("policy", "sign", *papers(rotated, "acme"))
    with pytest.raises(AgreementError, match="of borealis is retired; its active keys are"):
        run("policy", "sign", *papers(rotated, "borealis"))
    assert path.read_bytes() == before
    path.write_bytes(before.replace(b'"min_cohort": 2', b'"min_cohort": 3'))
    with pytest.raises(DocumentError, match="is not over these bytes"):
        run("policy", "sign", *papers(rotated, "new"))


def test_a_policy_signed_by_another_partner_is_not_signed_anew() -> None:
    agreement = founded().current(NOW)
    policy = open_policy(agreement, "acme", NOW)
    stranger = sign_digest(key_of("borealis"), Domain.POLICY, policy.digest, Role.DATA_OWNER, NOW)
    with pytest.raises(DocumentError, match="is signed by borealis; only acme may sign it"):
        sign_anew(SignedPolicy(policy=policy, signature=stranger), agreement, key_of("acme"), NOW)


# Lost keys


def test_where_both_must_sign_and_one_has_lost_its_only_key_this_is_said_before_and_after(pair: Path) -> None:
    home = pair / "aurora"
    before = run("consortium", "show", home)
    assert f"warning: key {key_id(pair / 'borealis.key')} of borealis: its owner has no other" in before
    assert "a version takes all 2 deciding partners" in before
    assert before.count("warning: ") == len(json.loads(run("consortium", "show", home, "--json"))["warnings"]) == 2
    join(pair, "again")
    revoke_key(pair, "borealis")
    stuck = "revokes: borealis; if these are lost, version 2 is never accepted: found a new agreement"
    assert (
        f"warning: version 1 asks 2 of acme, borealis to sign version 2; without a key left, except ended ones and "
        f"those that version 2 {stuck}" in run("consortium", "amend", home)
    )
    assert "lacks 1 of the signatures that version 1 asks for, of: borealis" in sign(pair, "acme", "again")
    assert stuck in run("consortium", "show", home)
    sign(pair, "borealis")  # it was found again
    assert stuck not in run("consortium", "show", home)


def test_with_a_second_key_kept_apart_a_lost_key_is_replaced_and_its_policy_written_anew(
    drafted: Path, tmp_path: Path
) -> None:
    place = tmp_path / "pair"
    shutil.copytree(drafted, place)
    home = place / "aurora"
    join(place, "spare")
    assert f"warning: key {key_id(place / 'acme.key')} of acme" in run("consortium", "amend", home)
    assert "has all its signatures" in sign(place, "acme", "borealis", "spare")
    assert "of borealis: its owner has no other" not in run("consortium", "show", home)
    run("policy", "open", *papers(place, "borealis"))
    join(place, "again")
    revoke_key(place, "borealis")
    assert "found a new agreement" not in run("consortium", "amend", home)
    assert "has all its signatures" in sign(place, "acme", "spare", "again")
    for name in ("sign", "revoke"):
        with pytest.raises(AgreementError, match=r"is revoked: others may have it .* policy open` in a new file"):
            run("policy", name, *papers(place, "again"))
    run("policy", "open", place / "other.json", *papers(place, "again")[1:])
    shutil.move(place / "other.json", place / "policy.json")
    assert "serial 2" in run("policy", "revoke", *papers(place, "again"))


# Keys that end


def test_a_key_that_ends_soon_is_warned_of_in_one_line(drafted: Path, tmp_path: Path) -> None:
    place = tmp_path / "pair"
    shutil.copytree(drafted, place)
    made = datetime.now(UTC) - KEY_LIFE + timedelta(days=30)
    card = first_card(read_key(place / "borealis.key", None), "aurora", "borealis", made)
    write_card_over(place / "aurora/cards/borealis.json", card)
    lines = [line for line in run("consortium", "amend", place / "aurora").splitlines() if " of borealis: " in line]
    assert len(lines) == 1
    assert f"it ends {card.card.valid_until:%Y-%m-%d}" in lines[0]
    assert "rotate it before, with `pharmonia keys rotate`; its owner has no other" in lines[0]


def write_card_over(path: Path, card: SignedCard) -> None:
    path.unlink()
    write_card(path, card)


def test_keys_are_warned_of_from_sixty_days_before_their_end_and_say_when_none_is_left() -> None:
    history = founded()
    assert warnings(history, END - ENDS_SOON - timedelta(seconds=1)) == ()
    soon = warnings(history, END - ENDS_SOON)
    assert len(soon) == len(history.versions[-1].agreement.keys)
    assert all("it ends 2099-12-31T23:59:59Z; rotate it before" in line for line in soon)
    first, *each = warnings(history, END + timedelta(seconds=1))
    assert "version 2 is never accepted: found a new agreement" in first
    assert len(each) == len(soon)
    assert all("it ended 2099-12-31T23:59:59Z and signs nothing more" in line for line in each)


def test_an_amendment_that_enough_others_can_sign_is_no_dead_end() -> None:
    assert warnings(propose(founded(), second_version()), NOW) == ()
