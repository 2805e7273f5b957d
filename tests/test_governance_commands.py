"""`pharmonia keys` and `pharmonia consortium`: four organisations in four folders, who exchange files and no more."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pharmonia.base.errors import (
    AgreementError,
    DocumentError,
    IdentityError,
    InputError,
    KeyFileError,
    PharmoniaError,
    TermsError,
)
from pharmonia.cli.main import app
from pharmonia.run.consortium import amend
from pharmonia.run.documents import changing, read_agreement
from pharmonia.run.keyfiles import create_commitment_key, read_commitment_key, read_key

ORGANISATIONS = {
    "acme": "Acme Pharma",
    "borealis": "Borealis AB",
    "cygnus": "Cygnus GmbH",
    "dynamo": "Dynamo Institute",
}
PASSPHRASE = "four words are best"  # noqa: S105


def call(*arguments: str | Path, typed: str = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=typed)


def run(*arguments: str | Path, typed: str = "") -> str:
    result = call(*arguments, typed=typed)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def key(folder: Path, who: str) -> Path:
    return folder / who / f"{who}.key"


@pytest.fixture(scope="module")
def drafted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four folders with keys; acme's holds the draft, and everybody's key card has come back to it."""
    root = tmp_path_factory.mktemp("founding")
    for who in ORGANISATIONS:
        run("keys", "create", key(root, who))
    home = root / "acme" / "aurora"
    naming = ("--consortium", "aurora", "--title", "Aurora", "--partner", "acme", "--name", ORGANISATIONS["acme"])
    run("consortium", "init", home, *naming, "--role", "data-owner", "--key", key(root, "acme"))
    for who in ("borealis", "cygnus", "dynamo"):
        role = "coordinator" if who == "dynamo" else "data-owner"
        inviting = ("--name", ORGANISATIONS[who], "--role", role, "--key", key(root, "acme"), "--by", "acme")
        run("consortium", "invite", home, who, *inviting)
        posted = shutil.copy(home / f"invitation-{who}.json", root / who)
        run("consortium", "join", posted, "--key", key(root, who), "--card", root / who / "card.json")
        shutil.copy(root / who / "card.json", home / "cards" / f"{who}.json")
    terms = home / "terms.toml"
    text = terms.read_text(encoding="utf-8").replace("agreement = 2 ", "agreement = 3 ")
    terms.write_text(text.replace("trunk_recipients = []", 'trunk_recipients = ["cygnus", "acme"]'), encoding="utf-8")
    return root


@pytest.fixture
def folders(drafted: Path, tmp_path: Path) -> Path:
    """A copy for one test."""
    shutil.copytree(drafted, tmp_path / "four")
    return tmp_path / "four"


def found(folders: Path) -> Path:
    """Everybody signs a copy of their own; acme collects them."""
    home = folders / "acme" / "aurora"
    run("consortium", "amend", home)
    for who in ORGANISATIONS:
        copy = folders / who / "agreement.json"
        shutil.copy(home / "agreement.json", copy)
        run("consortium", "sign", copy, "--key", key(folders, who))
    copies = [part for who in ORGANISATIONS for part in ("--from", folders / who / "agreement.json")]
    run("consortium", "sign", home, *copies)
    return home


def test_four_organisations_found_a_consortium_by_exchanging_files(folders: Path) -> None:
    home = found(folders)
    text = run("consortium", "show", home)
    assert "version 1 has all its signatures" in text
    for who, name in ORGANISATIONS.items():
        assert f"{who}: {name}" in text
        fingerprint = run("keys", "show", key(folders, who)).split("fingerprint  ")[1].strip()
        assert re.fullmatch(r"(\d{5} ){7}\d{5}", fingerprint)
        assert fingerprint in text
    told = json.loads(run("consortium", "show", home, "--json"))
    assert (told["n_accepted"], told["lacking"]) == (1, [])
    assert told["agreement"]["terms"]["trunk_recipients"] == ["acme", "cygnus"]
    assert told["digest"] in text


def test_a_version_that_lacks_signatures_says_whose(folders: Path) -> None:
    home = folders / "acme" / "aurora"
    assert "lacks 3 of the signatures that version 1 asks for" in run("consortium", "amend", home)
    text = run("consortium", "sign", home, "--key", key(folders, "acme"))
    assert "lacks 2 of the signatures" in text
    assert "of borealis" in text
    assert "of acme" not in text
    assert "is proposed; it lacks" in run("consortium", "show", home)


def test_joining_tells_what_to_read_to_each_other(folders: Path) -> None:
    invitation = folders / "acme" / "aurora" / "invitation-cygnus.json"
    card = folders / "cygnus" / "again.json"
    text = run("consortium", "join", invitation, "--key", key(folders, "cygnus"), "--card", card)
    for who in ("acme", "cygnus"):
        assert run("keys", "show", key(folders, who)).split("fingerprint  ")[1].strip() in text
    assert "Cygnus GmbH (cygnus) in Aurora, as data-owner" in text
    assert "cygnus in aurora" in run("keys", "show", card)
    content = invitation.read_text(encoding="utf-8")
    invitation.write_text(content.replace("Aurora", "Aurore"), encoding="utf-8")
    with pytest.raises(DocumentError, match="not signed by the key in it"):
        run("consortium", "join", invitation, "--key", key(folders, "cygnus"), "--card", card)


def test_no_card_is_written_over_a_file(folders: Path) -> None:
    home = found(folders)
    own = key(folders, "borealis")
    before = own.read_bytes()
    with pytest.raises(InputError, match="is there already"):
        run("keys", "rotate", own, folders / "new.key", "--consortium", home, "--card", own)
    assert own.read_bytes() == before
    assert not (folders / "new.key").exists()


def rotate(folders: Path, home: Path) -> Path:
    new = folders / "borealis" / "new.key"
    card = folders / "borealis" / "new-card.json"
    said = run("keys", "rotate", key(folders, "borealis"), new, "--consortium", home, "--card", card)
    assert "once signed" in said
    shutil.copy(card, home / "cards" / "borealis-2.json")
    return new


def test_a_key_is_rotated_by_a_version_that_the_old_and_the_new_thresholds_sign(folders: Path) -> None:
    home = found(folders)
    new = rotate(folders, home)
    changes = run("consortium", "amend", home)
    assert re.search(r"~ keys, pk-\w+, state: active -> retired", changes)
    assert re.search(r"\+ keys, pk-\w+, partner: borealis", changes)
    for who in ("acme", "cygnus"):
        run("consortium", "sign", home, "--key", key(folders, who))
    assert "lacks the signature by the new key" in run("consortium", "sign", home, "--key", key(folders, "borealis"))
    assert "has all its signatures" in run("consortium", "sign", home, "--key", new)
    assert run("consortium", "diff", home) in changes
    with pytest.raises(AgreementError, match="has all its signatures; there is nothing to sign"):
        run("consortium", "sign", home, "--key", new)
    with pytest.raises(AgreementError, match="is retired; its active keys are"):
        run("keys", "rotate", key(folders, "borealis"), folders / "x", "--consortium", home, "--card", folders / "y")
    assert not (folders / "x").exists()


def test_a_lost_key_is_revoked_and_a_partner_leaves(folders: Path) -> None:
    home = found(folders)
    terms = home / "terms.toml"
    lost = run("keys", "show", key(folders, "borealis")).split()[2]
    new = folders / "borealis" / "new.key"
    run("keys", "create", new)
    again = folders / "borealis" / "again.json"
    run("consortium", "join", home / "invitation-borealis.json", "--key", new, "--card", again)
    shutil.copy(again, home / "cards" / "borealis-2.json")
    text = terms.read_text(encoding="utf-8")
    terms.write_text(text.replace("revoked_keys = []", f'revoked_keys = ["{lost}"]'), encoding="utf-8")
    assert f"~ keys, {lost}, state: active -> revoked" in run("consortium", "amend", home)
    gone = text.replace(
        text[text.index('[[partners]]\nid = "borealis"') : text.index('[[partners]]\nid = "cygnus"')], ""
    )
    terms.write_text(gone.replace("agreement = 3", "agreement = 2"), encoding="utf-8")
    for card in home.glob("cards/borealis*.json"):
        card.unlink()
    changes = run("consortium", "amend", home)
    assert "- partners, borealis, name: Borealis AB" in changes
    assert f"~ keys, {lost}, state: active -> revoked" in changes
    signing = [key(folders, who) for who in ("acme", "cygnus", "dynamo")]
    assert "has all its signatures" in [run("consortium", "sign", home, "--key", one) for one in signing][-1]


def test_papers_for_lawyers_are_made_from_the_terms(folders: Path) -> None:
    home = folders / "acme" / "aurora"
    run("consortium", "amend", home)
    papers = {path.name: path.read_text(encoding="utf-8") for path in (home / "templates").glob("*.md")}
    assert set(papers) == {"roles-matrix.md", "data-sharing-terms.md", "responsibilities.md", "incident-contacts.md"}
    for text in papers.values():
        assert "Starting point for lawyers" in text
        assert "Aurora" in text
        assert "Acme Pharma" in text or "acme" in text
    assert "| Dynamo Institute |  | yes |" in papers["roles-matrix.md"]
    assert (
        "| private-head | its owner | its owner | its owner | its owner | nobody | nobody | its owner |"
        in (papers["roles-matrix.md"])
    )
    assert "goes to: Acme Pharma, Cygnus GmbH" in papers["data-sharing-terms.md"]


def test_two_copies_are_compared(folders: Path) -> None:
    home = found(folders)
    other = folders / "other.json"
    shutil.copy(home / "agreement.json", other)
    assert "no difference" in run("consortium", "diff", home, other)
    assert "version 1 is the first" in run("consortium", "diff", home)
    rotate(folders, home)
    run("consortium", "amend", home)
    assert "version 2 in" in run("consortium", "diff", other, home)
    with pytest.raises(DocumentError, match="the copy differs from version 2 on"):
        run("consortium", "sign", home, "--from", other)


# Bad input


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_every_error_names_file_and_remedy_and_changes_nothing(folders: Path) -> None:
    home = folders / "acme" / "aurora"
    acme, terms = key(folders, "acme"), home / "terms.toml"
    inviting = ("--key", acme, "--by", "acme")
    naming = ("--consortium", "aurora", "--title", "A", "--partner", "acme", "--name", "A", "--role", "observer")
    before = contents(folders)
    bad: list[tuple[tuple[str | Path, ...], type[PharmoniaError], str]] = [
        (("consortium", "init", home, *naming, "--key", acme), InputError, "exists; edit it"),
        (("consortium", "show", home), InputError, "cannot read .*agreement.json"),
        (("consortium", "show", terms), DocumentError, "cut short or damaged"),
        (("consortium", "sign", home), InputError, "give --key to sign"),
        (
            ("consortium", "invite", home, "acrne", "--name", "X", "--role", "observer", *inviting),
            TermsError,
            "could be",
        ),
        (
            ("consortium", "invite", home, "acme", "--name", "X", "--role", "observer", *inviting),
            TermsError,
            "has acme",
        ),
        (("consortium", "invite", home, "Zeta", "--name", "Z", "--role", "observer", *inviting), TermsError, "a-z"),
        (
            ("consortium", "invite", home, "zeta", "--name", "Z", "--role", "boss", *inviting),
            InputError,
            "a role is one",
        ),
        (("keys", "create", acme), KeyFileError, "never overwritten"),
        (("keys", "show", folders / "none"), InputError, "cannot read"),
        (("keys", "show", terms), KeyFileError, "chmod 600"),
    ]
    for arguments, error, message in bad:
        with pytest.raises(error, match=message):
            run(*arguments)
    assert contents(folders) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("min_cohort = 2", "min_cohort = 9", "minimum cohort is 2 to 3"),
        ("min_cohort = 2", "min_cohorts = 2", "'min_cohort' is missing"),
        ("min_cohort = 2", "min_cohort = 2\nextra = 1", "there is no field 'extra'"),
        ("min_cohort = 2", 'min_cohort = "2"', "must be a whole number"),
        ("min_cohort = 2", "min_cohort = ", "is not TOML"),
        ("agreement = 3", "agreement = 1", "more than half of the 4"),
        ('credit = "equal"', 'credit = "luck"', "must be one of equal, rows, gain"),
        ("valid_until = 2", "valid_until = 1", "of this century"),
        ('name = "Cygnus GmbH"', 'name = "ACME Pharma"', "rename one of them"),
        ('id = "cygnus"', 'id = "acme"', "partners"),
        ("revoked_keys = []", 'revoked_keys = ["pk-0000000000000000"]', "keys that nobody has"),
        ('id = "cygnus"', 'id = "zeta"', "recipients of the trunk are partners|does not fit|without an active key"),
        ("code_digest = true", "code_digest = true\nprivacy_budget = { epsilon = 8.0, delta = 1e-5 }", "leave it out"),
    ],
)
def test_terms_written_wrongly_name_the_field(folders: Path, old: str, new: str, message: str) -> None:
    terms = folders / "acme" / "aurora" / "terms.toml"
    text = terms.read_text(encoding="utf-8")
    assert old in text
    terms.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(TermsError, match=message):
        run("consortium", "amend", folders / "acme" / "aurora")
    assert not (folders / "acme" / "aurora" / "agreement.json").exists()


def test_nothing_to_change_is_said(folders: Path) -> None:
    home = found(folders)
    with pytest.raises(TermsError, match="nothing would change in the agreement of aurora, version 1"):
        run("consortium", "amend", home)


def test_a_half_written_agreement_is_a_clear_error(folders: Path) -> None:
    path = found(folders) / "agreement.json"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DocumentError, match=r"agreement.json is cut short or damaged; ask its sender"):
        run("consortium", "show", path)


def test_two_processes_do_not_lose_each_others_signatures(folders: Path) -> None:
    home = folders / "acme" / "aurora"
    amend(home)
    with changing(home / "agreement.json"), pytest.raises(InputError, match="another process is changing"):
        run("consortium", "sign", home, "--key", key(folders, "acme"))
    run("consortium", "sign", home, "--key", key(folders, "acme"))
    assert len(read_agreement(home).versions[0].signatures) == 1


# Key files


def test_a_key_file_is_for_its_owner_alone(folders: Path) -> None:
    for path in (key(folders, "acme"), folders / "acme" / "acme.key.commitment"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o640)
    with pytest.raises(KeyFileError, match=r"acme.key can be read by others \(mode 640\); run `chmod 600"):
        read_key(key(folders, "acme"), None)
    assert sorted(path.name for path in (folders / "acme").iterdir()) == ["acme.key", "acme.key.commitment", "aurora"]


def test_a_passphrase_protects_a_key_file(tmp_path: Path) -> None:
    path = tmp_path / "safe.key"
    made = run("keys", "create", path, "--passphrase", typed=f"{PASSPHRASE}\n{PASSPHRASE}\n")
    assert b"ENCRYPTED" in path.read_bytes()
    assert run("keys", "show", path, typed=f"{PASSPHRASE}\n").split() == made.split()
    with pytest.raises(KeyFileError, match="its passphrase is another"):
        run("keys", "show", path, typed="something else\n")
    with pytest.raises(IdentityError, match="at least 12 bytes"):
        run("keys", "create", tmp_path / "weak.key", "--passphrase", typed="weak\nweak\n")
    assert [one.name for one in tmp_path.iterdir() if "weak" in one.name] == []


def test_a_commitment_key_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "commitment"
    made = create_commitment_key(path)
    assert read_commitment_key(path).secret == made.secret
    with pytest.raises(KeyFileError, match="never overwritten"):
        create_commitment_key(path)
    for content in (b"", b"pharmonia commitment key\nzz\n", b"pharmonia commitment key\nabcd\n", b"x" * 5000):
        path.write_bytes(content)
        with pytest.raises(KeyFileError, match="commitment"):
            read_commitment_key(path)


def test_the_commands_need_neither_torch_nor_rdkit(folders: Path) -> None:
    home = found(folders)
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['rdkit', 'pyarrow', 'torch', 'safetensors'], None))\n"
        "sys.argv = ['pharmonia', 'consortium', 'show', sys.argv[1]]\n"
        "from pharmonia.cli.main import main\n"
        "main()\n"
    )
    plain = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(home)], capture_output=True, text=True, env=plain, check=True
    )
    assert "has all its signatures" in done.stdout
