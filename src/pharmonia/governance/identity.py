"""Who signed: Ed25519 keys, their names for machines and for people, and a partner's key for commitments.

A signature is over `pharmonia/governance/v1/sign|`, the domain and the message, the last two each with its length (8
bytes, little-endian) before it. So no signature of one kind of record is ever one of another, nor of a session of
secure aggregation, whose texts begin with another label.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from pharmonia.base.errors import IdentityError, KeyFileError

KEY_BYTES = 32
SIGNATURE_BYTES = 64
MIN_PASSPHRASE_BYTES = 12
_LABEL = "pharmonia/governance/v1/"
_FINGERPRINT_GROUPS, _GROUP_DIGITS = 8, 5
_SALT_BYTES = 16
_SALT_LINE = re.compile(rb"Pharmonia-Scrypt-Salt: ([0-9a-f]{32})\n")  # before the PEM block of an encrypted key
_P = 2**255 - 19
_Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826  # of points of order 8
_SMALL_ORDER_Y = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})  # of every point whose order divides 8


def framed(use: str, *fields: bytes) -> bytes:
    """A label and each field with its length before it; no two lists of fields give the same bytes."""
    parts = [part for field in fields for part in (len(field).to_bytes(8, "little"), field)]
    return b"".join([f"{_LABEL}{use}|".encode(), *parts])


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key.

    Args:
        raw: 32 bytes, as RFC 8032 encodes a point.

    Raises:
        IdentityError: Not 32 bytes, an encoding that RFC 8032 does not allow, or a point of small order, under which
            a signature can be made without any private key.

    Guarantees:
        a_key_that_anyone_can_sign_for_is_refused: No point of small order is ever a partner's key.
        a_signature_of_one_domain_is_none_of_another: The domain is inside what is signed.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != KEY_BYTES:
            raise IdentityError(f"a public key has {KEY_BYTES} bytes, got {len(self.raw)}")
        y = int.from_bytes(self.raw, "little") & (2**255 - 1)
        if y >= _P or y in _SMALL_ORDER_Y:
            raise IdentityError(f"{self.raw.hex()} is no safe Ed25519 public key; ask its owner to create another")

    @property
    def key_id(self) -> str:
        """`pk-` and 16 hexadecimal digits of a SHA-256; a name to look a key up by, not a proof."""
        return f"pk-{hashlib.sha256(framed('key-id', self.raw)).hexdigest()[:16]}"

    @property
    def fingerprint(self) -> str:
        """Eight groups of five digits (132 bits) that two people read to each other over the telephone."""
        number = int.from_bytes(hashlib.sha256(framed("fingerprint", self.raw)).digest(), "big")
        n_digits = _FINGERPRINT_GROUPS * _GROUP_DIGITS
        digits = f"{number % 10**n_digits:0{n_digits}d}"
        return " ".join(digits[start : start + _GROUP_DIGITS] for start in range(0, n_digits, _GROUP_DIGITS))

    def verify(self, signature: bytes, domain: str, message: bytes) -> bool:
        """Whether this key's owner signed the message for that domain."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, _signed_text(domain, message))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PrivateKey:
    """An Ed25519 signing key; it never prints itself."""

    private: Ed25519PrivateKey

    @staticmethod
    def generate() -> "PrivateKey":
        """A fresh key from the operating system's randomness."""
        return PrivateKey(Ed25519PrivateKey.generate())

    @property
    def public(self) -> PublicKey:
        """The half that everybody may know."""
        return PublicKey(self.private.public_key().public_bytes_raw())

    def sign(self, domain: str, message: bytes) -> bytes:
        """64 bytes, valid for this domain and message only."""
        return self.private.sign(_signed_text(domain, message))

    def to_pem(self, passphrase: bytes | None) -> bytes:
        """PKCS #8 in PEM, encrypted if there is a passphrase.

        The passphrase is stretched by scrypt (RFC 7914; N = 2^15, r = 8, p = 1) under a salt that stands in a line
        before the block.

        Raises:
            IdentityError: A passphrase shorter than 12 bytes.
        """
        if passphrase is None:
            return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        if len(passphrase) < MIN_PASSPHRASE_BYTES:
            raise IdentityError(f"a passphrase has at least {MIN_PASSPHRASE_BYTES} bytes; several words are best")
        salt = secrets.token_bytes(_SALT_BYTES)
        encryption = BestAvailableEncryption(_stretched(passphrase, salt))
        pem = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        return b"Pharmonia-Scrypt-Salt: %s\n%s" % (salt.hex().encode(), pem)

    @staticmethod
    def from_pem(pem: bytes, passphrase: bytes | None) -> "PrivateKey":
        """The key that `to_pem` wrote.

        Raises:
            KeyFileError: Damaged, of another kind, or another passphrase is needed.
        """
        salt = _SALT_LINE.match(pem)
        if (salt is None) != (passphrase is None):
            raise KeyFileError(f"the private key is {'not ' if salt is None else ''}encrypted by a passphrase")
        password = _stretched(passphrase, bytes.fromhex(salt[1].decode())) if salt and passphrase is not None else None
        try:
            private = load_pem_private_key(pem, password)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError("the private key is damaged, or its passphrase is another") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyFileError("the private key is not of Ed25519; make one with `pharmonia keys create`")
        return PrivateKey(private)


def is_encrypted(pem: bytes) -> bool:
    """Whether `PrivateKey.from_pem` needs a passphrase."""
    return _SALT_LINE.match(pem) is not None


def _stretched(passphrase: bytes, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=2**15, r=8, p=1).derive(passphrase).hex().encode()


def _signed_text(domain: str, message: bytes) -> bytes:
    return framed("sign", domain.encode(), message)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CommitmentKey:
    """A partner's secret for naming its data sets without revealing them; it never prints itself.

    Args:
        secret: 32 bytes that only the partner has.

    Raises:
        IdentityError: Not 32 bytes.
    """

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise IdentityError(f"a commitment key has {KEY_BYTES} bytes, got {len(self.secret)}")

    @staticmethod
    def generate() -> "CommitmentKey":
        """A fresh secret from the operating system's randomness."""
        return CommitmentKey(secrets.token_bytes(KEY_BYTES))

    def commit(self, consortium: str, dataset_digest: str) -> str:
        """HMAC-SHA256 over consortium and data set digest, 64 hexadecimal digits.

        Guarantees:
            a_commitment_says_nothing_without_the_key: Who guesses the data set cannot confirm the guess, and the same
                data set in two consortia has two names.
        """
        text = framed("dataset", consortium.encode(), dataset_digest.encode())
        return hmac.new(self.secret, text, hashlib.sha256).hexdigest()
