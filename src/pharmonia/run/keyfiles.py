"""Private keys on disk: a file that its owner alone can read, and that is never overwritten."""

from pathlib import Path

from pharmonia.base.errors import KeyFileError
from pharmonia.governance.identity import CommitmentKey, PrivateKey, is_encrypted
from pharmonia.run.secretfiles import create_secret, read_secret

MAX_KEY_BYTES = 4096
_COMMITMENT_HEADING = "pharmonia commitment key\n"


def create_key(path: Path, passphrase: bytes | None) -> PrivateKey:
    """A fresh signing key, written to a new file of mode 0600.

    Raises:
        KeyFileError: The file exists, or cannot be written.
        IdentityError: The passphrase is too short.
    """
    key = PrivateKey.generate()
    _create(path, key.to_pem(passphrase))
    return key


def read_key(path: Path, passphrase: bytes | None) -> PrivateKey:
    """The signing key in a file.

    Raises:
        KeyFileError: Missing, readable by others, damaged, or under another passphrase; names the file.
    """
    try:
        return PrivateKey.from_pem(_read(path), passphrase)
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from error


def read_service_key(path: Path, passphrase: Path | None) -> PrivateKey:
    """The signing key of a service, which nobody is there to ask for its passphrase.

    Args:
        path: Of the key.
        passphrase: Of a file of mode 0600 whose first line is the passphrase; None if the key is not encrypted.

    Raises:
        KeyFileError: As `read_key`; or the passphrase's file is missing, readable by others or empty.
    """
    if passphrase is None:
        return read_key(path, None)
    line = read_secret(passphrase, MAX_KEY_BYTES, "a file with the passphrase alone").split(b"\n")[0].rstrip(b"\r")
    if not line:
        raise KeyFileError(f"{passphrase} holds no passphrase in its first line; write that of {path} there")
    return read_key(path, line)


def needs_passphrase(path: Path) -> bool:
    """Whether a key file is encrypted.

    Raises:
        KeyFileError: Missing, or readable by others.
    """
    return is_encrypted(_read(path))


def create_commitment_key(path: Path) -> CommitmentKey:
    """A fresh secret for commitments to data sets, written to a new file of mode 0600.

    Raises:
        KeyFileError: The file exists, or cannot be written.
    """
    key = CommitmentKey.generate()
    _create(path, f"{_COMMITMENT_HEADING}{key.secret.hex()}\n".encode())
    return key


def read_commitment_key(path: Path) -> CommitmentKey:
    """The secret for commitments in a file.

    Raises:
        KeyFileError: Missing, readable by others, or damaged.
    """
    heading, _, rest = _read(path).partition(b"\n")
    try:
        secret = bytes.fromhex(rest.decode().strip())
    except ValueError as error:
        raise KeyFileError(f"{path} is damaged: its second line is not hexadecimal") from error
    if f"{heading.decode(errors='replace')}\n" != _COMMITMENT_HEADING or len(secret) != 32:
        raise KeyFileError(f"{path} is not a commitment key; restore it from your backup")
    return CommitmentKey(secret)


def _create(path: Path, content: bytes) -> None:
    create_secret(path, content, "choose another name")


def _read(path: Path) -> bytes:
    return read_secret(path, MAX_KEY_BYTES, "the file that `pharmonia keys create` wrote")
