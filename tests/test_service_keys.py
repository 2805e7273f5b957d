"""Keys under a passphrase, for services that nobody is there to ask."""

from pathlib import Path

import pytest

from governance_cases import OWNERS, key_of
from pharmonia.base.errors import KeyFileError
from pharmonia.run.keyfiles import read_service_key
from pharmonia.run.preflight_seat import seat_preflight
from site_cases import COORDINATOR, Consortium, fixed_code, history, secret, settings

PASSPHRASE = b"seven green kinases walk by"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    """A consortium whose coordinator and first owner keep their keys under a passphrase."""
    with fixed_code():
        place = Consortium(tmp_path_factory.mktemp("aurora") / "aurora", settings(rounds=1), history()).found()
    for name in (COORDINATOR, OWNERS[0]):
        home = place.folder / name
        secret(home / f"{name}.key", key_of(name).to_pem(PASSPHRASE))
        secret(home / "words", PASSPHRASE + b"\nnot this line\n")
        for config in home.glob("*.toml"):
            config.write_text('passphrase = "words"\n' + config.read_text())
    return place


def test_a_run_uses_keys_under_passphrases_on_both_sides(encrypted: Consortium) -> None:
    with fixed_code():
        model = encrypted.run()
    assert len(model.rounds) == 1


def test_the_coordinator_s_preflight_reads_its_key(encrypted: Consortium) -> None:
    found = seat_preflight(encrypted.folder / COORDINATOR, 1 << 34, encrypted.now())
    keys = [check for check in found.checks if "key" in check.what]
    assert keys
    assert [check.what for check in keys if check.error is not None] == []


def test_a_passphrase_file_that_others_can_read_or_that_is_empty_is_refused(tmp_path: Path) -> None:
    key, words = tmp_path / "acme.key", tmp_path / "words"
    secret(key, key_of("acme").to_pem(PASSPHRASE))
    secret(words, PASSPHRASE)
    assert read_service_key(key, words).public == key_of("acme").public
    words.chmod(0o644)
    with pytest.raises(KeyFileError, match=r"chmod 600 .*words"):
        read_service_key(key, words)
    secret(words, b"\nsecond line\n")
    with pytest.raises(KeyFileError, match=r"words holds no passphrase in its first line"):
        read_service_key(key, words)
    secret(words, b"seven red kinases walk by")
    with pytest.raises(KeyFileError, match=r"acme\.key: .*its passphrase is another"):
        read_service_key(key, words)


def test_an_encrypted_key_without_its_passphrase_and_the_reverse_are_refused(tmp_path: Path) -> None:
    key, words = tmp_path / "acme.key", tmp_path / "words"
    secret(words, PASSPHRASE)
    secret(key, key_of("acme").to_pem(PASSPHRASE))
    with pytest.raises(KeyFileError, match="is encrypted by a passphrase"):
        read_service_key(key, None)
    secret(key, key_of("acme").to_pem(None))
    with pytest.raises(KeyFileError, match="is not encrypted by a passphrase"):
        read_service_key(key, words)
