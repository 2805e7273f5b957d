"""Keys: what they sign, what they are called, how they are kept."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.errors import IdentityError, KeyFileError
from pharmonia.governance.identity import CommitmentKey, PrivateKey, PublicKey, framed, is_encrypted
from pharmonia.secagg.keys import IdentityKey
from pharmonia.secagg.roster import is_signed

KEY = PrivateKey.generate()
RFC8032_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")  # 7.1, test 1
PASSPHRASE = b"four words are best"


def test_a_key_has_one_id_and_one_fingerprint() -> None:
    key = PublicKey(RFC8032_PUBLIC)
    text = b"pharmonia/governance/v1/key-id|" + (32).to_bytes(8, "little") + RFC8032_PUBLIC
    assert key.key_id == "pk-" + hashlib.sha256(text).hexdigest()[:16] == "pk-ae1fd83e1dddedc3"
    text = b"pharmonia/governance/v1/fingerprint|" + (32).to_bytes(8, "little") + RFC8032_PUBLIC
    digits = f"{int.from_bytes(hashlib.sha256(text).digest(), 'big') % 10**40:040d}"
    assert key.fingerprint == " ".join(digits[start : start + 5] for start in range(0, 40, 5))
    assert len({PrivateKey.generate().public.fingerprint for _ in range(20)}) == 20


@given(message=st.binary(max_size=80), other=st.binary(max_size=80))
def test_a_signature_of_one_domain_is_none_of_another(message: bytes, other: bytes) -> None:
    signature = KEY.sign("plan", message)
    assert len(signature) == 64
    assert KEY.public.verify(signature, "plan", message)
    assert not KEY.public.verify(signature, "policy", message)
    assert not KEY.public.verify(signature, "pla", b"n" + message)
    assert KEY.public.verify(signature, "plan", other) == (message == other)


@given(one=st.lists(st.binary(max_size=6), max_size=4), other=st.lists(st.binary(max_size=6), max_size=4))
def test_framing_tells_any_two_lists_apart(one: list[bytes], other: list[bytes]) -> None:
    assert (framed("x", *one) == framed("x", *other)) == (one == other)


@pytest.mark.parametrize("signature", [b"", b"x", bytes(64), bytes(63), bytes(65), b"\xff" * 64])
def test_what_is_no_signature_is_just_not_valid(signature: bytes) -> None:
    assert not KEY.public.verify(signature, "plan", b"text")


def test_a_signature_cannot_be_bent_into_a_second_one() -> None:
    signature = KEY.sign("plan", b"text")
    order = 2**252 + 27742317777372353535851937790883648493
    bent = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    assert not KEY.public.verify(bent, "plan", b"text")


def square_root(square: int, p: int) -> int:
    """Of a square modulo p = 5 mod 8."""
    root = pow(square, (p + 3) // 8, p)
    return root if root * root % p == square % p else root * pow(2, (p - 1) // 4, p) % p


def small_order_points() -> list[bytes]:
    """Encodings of the eight points whose order divides 8, both signs of x, and the ones above the modulus.

    Twice a point of order 8 has y = 0, which on the curve -x^2 + y^2 = 1 + d x^2 y^2 means d y^4 + 2 y^2 - 1 = 0.
    """
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    squares = [(-1 + sign * square_root(1 + d, p)) * pow(d, -1, p) % p for sign in (1, -1)]
    y8 = next(square_root(y2, p) for y2 in squares if pow(y2, (p - 1) // 2, p) == 1)
    assert (d * y8**4 + 2 * y8**2 - 1) % p == 0
    ys = [0, 1, p - 1, y8, p - y8, p, p + 1]
    return [(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1)]


@pytest.mark.parametrize("raw", small_order_points())
def test_a_key_that_anyone_can_sign_for_is_refused(raw: bytes) -> None:
    with pytest.raises(IdentityError, match="no safe Ed25519"):
        PublicKey(raw)


def test_such_a_key_would_have_let_anyone_sign() -> None:
    """The reason for the refusal: under the neutral element, R = neutral and S = 0 sign everything."""
    neutral = (1).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"anything")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(IdentityError, match="32 bytes"):
        PublicKey(bytes(size))


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_a_key_survives_its_file(passphrase: bytes | None) -> None:
    pem = KEY.to_pem(passphrase)
    assert is_encrypted(pem) == (passphrase is not None)
    assert PrivateKey.from_pem(pem, passphrase).public == KEY.public
    assert (b"ENCRYPTED" in pem) == (passphrase is not None)


def test_a_passphrase_is_asked_for_and_checked() -> None:
    pem = KEY.to_pem(PASSPHRASE)
    with pytest.raises(KeyFileError, match="encrypted"):
        PrivateKey.from_pem(pem, None)
    with pytest.raises(KeyFileError, match="damaged, or its passphrase"):
        PrivateKey.from_pem(pem, b"four words are beSt")
    with pytest.raises(KeyFileError, match="not encrypted"):
        PrivateKey.from_pem(KEY.to_pem(None), PASSPHRASE)
    with pytest.raises(IdentityError, match="at least 12"):
        KEY.to_pem(b"short")
    assert KEY.to_pem(PASSPHRASE) != pem, "salted"


@pytest.mark.parametrize("cut", range(0, 112, 7))
def test_a_damaged_key_file_is_a_clear_error(cut: int) -> None:
    with pytest.raises(KeyFileError):
        PrivateKey.from_pem(KEY.to_pem(None)[:cut], None)


def test_a_key_of_another_kind_is_refused() -> None:
    pem = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyFileError, match="not of Ed25519"):
        PrivateKey.from_pem(pem, None)


def test_secrets_do_not_print_themselves() -> None:
    secret = CommitmentKey(b"s" * 32)
    assert "sss" not in repr(secret)
    assert repr(KEY).startswith("<")
    assert CommitmentKey.generate().secret != CommitmentKey.generate().secret
    with pytest.raises(IdentityError, match="32 bytes"):
        CommitmentKey(b"short")


def test_a_commitment_says_nothing_without_the_key() -> None:
    ours, theirs = CommitmentKey(b"a" * 32), CommitmentKey(b"b" * 32)
    digest = "ab" * 32
    assert ours.commit("aurora", digest) == ours.commit("aurora", digest)
    names = {key.commit(consortium, digest) for key in (ours, theirs) for consortium in ("aurora", "boreas")}
    assert len(names) == 4
    assert all(len(name) == 64 and digest not in name for name in names)


def test_one_identity_signs_documents_and_sessions_without_confusion() -> None:
    """The key that the agreement pins is the one of secure aggregation; neither's signatures are the other's."""
    session = IdentityKey(KEY.private)
    assert session.public == KEY.public.raw
    text = b"pharmonia/sa/v1/offer|anything"
    assert not KEY.public.verify(session.sign(text), "offer", b"anything")
    assert not is_signed(KEY.public.raw, KEY.sign("offer", text), text)
