"""Golden vectors: files that another implementation can be checked against.

`python tests/test_secagg_vectors.py` writes them again after a change of format that bears a new version label.
"""

import hashlib
import hmac
import json
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pharmonia.secagg.fixedpoint import encode_onto
from pharmonia.secagg.header import Layout, RoundHeader, Tier
from pharmonia.secagg.keys import IdentityKey, SessionKey, pair_keys
from pharmonia.secagg.masks import sum_masks
from pharmonia.secagg.messages import MaskedUpdate, encode
from pharmonia.secagg.streams import Stream, add_streams, mask_key, self_mask_key
from pharmonia.secagg.wire import digest
from secagg_cases import MODEL, SESSION, directory_of, roster_of

FOLDER = Path(__file__).parent / "vectors" / "secagg"
K, RH = bytes(range(0x20)), bytes(range(0x20, 0x40))
LAYOUT = Layout(names=("trunk.weight", "trunk.bias"), lengths=(3, 2))
VALUES = np.array([0.5, -0.5, 1e-7, 2.5, -1.5], dtype=np.float32)
WEIGHT = 3


def words_of(key: bytes, n: int) -> list[str]:
    """First words of a keystream, as the product makes them."""
    words = np.zeros(n, dtype="<u4")
    add_streams(words, [Stream(key, is_added=True)])
    return [f"{word:08x}" for word in words]


def mask_vectors() -> dict[str, object]:
    key, own = mask_key(K, RH), self_mask_key(K, RH)
    return {
        "pair_key": K.hex(),
        "round_digest": RH.hex(),
        "mask_key": key.hex(),
        "mask_words": words_of(key, 4),
        "self_mask_key": own.hex(),
        "self_mask_words": words_of(own, 4),
    }


def session_vectors() -> dict[str, object]:
    """Three partners with fixed keys, one round of tier A and the frame of the first partner's masked update."""
    names = ("alpha", "beta", "gamma")
    identities = {n: IdentityKey(Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32)) for i, n in enumerate(names, 1)}
    keys = {n: SessionKey(X25519PrivateKey.from_private_bytes(bytes([64 + i]) * 32)) for i, n in enumerate(names)}
    directory = directory_of(roster_of(identities), identities, keys)
    pairs = {name: pair_keys(directory, name, keys[name]) for name in names}
    header = RoundHeader(
        session=SESSION,
        round_index=5,
        tier=Tier.COMMIT_THEN_MASK,
        word_bytes=4,
        length=LAYOUT.length,
        degree=2,
        weight_bits=2,
        exponents=(4, 6),
        layout_digest=LAYOUT.digest,
        model_digest=MODEL,
        contributors=names,
    )
    words = sum_masks(header, "alpha", pairs["alpha"], b"").take()
    encode_onto(words, VALUES, LAYOUT, header, WEIGHT)
    update = MaskedUpdate(partner="alpha", round_digest=header.digest, words=words, seed_digest=b"", boxes=())
    return {
        "session": SESSION.hex(),
        "identity_seeds": {name: (bytes([i]) * 32).hex() for i, name in enumerate(names, 1)},
        "session_key_seeds": {name: (bytes([64 + i]) * 32).hex() for i, name in enumerate(names)},
        "offers": {offer.partner: encode(offer).hex() for offer in directory.offers},
        "directory_digest": directory.salt.hex(),
        "pair_keys": {f"{a} {b}": pairs[a][b].hex() for a in names for b in names if a < b},
        "layout_digest": LAYOUT.digest.hex(),
        "header_frame": encode(header).hex(),
        "round_digest": header.digest.hex(),
        "values": VALUES.tolist(),
        "weight": WEIGHT,
        "alpha_masked_words": [f"{word:08x}" for word in words],
        "alpha_masked_update_frame": encode(update).hex(),
    }


GOLDEN = {"masks.json": mask_vectors, "session.json": session_vectors}


def test_masks_and_sessions_have_their_golden_bytes() -> None:
    for name, make in GOLDEN.items():
        assert make() == json.loads((FOLDER / name).read_text()), name


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand of up to one block (RFC 5869), by hand."""
    return hmac.digest(key, info + b"\x01", "sha256")[:length]


def aes_ctr_words(key: bytes, n: int) -> list[str]:
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(4 * n))
    return [f"{int.from_bytes(stream[i : i + 4], 'little'):08x}" for i in range(0, 4 * n, 4)]


def test_the_specification_s_vector_under_its_own_label() -> None:
    key = expand(K, b"fl-sa/v1/mask|" + RH, 16)
    assert key.hex() == "0e3c5a0f80e04b3375c90967e44563c1"
    expected = ["970b4513", "a53abf30", "00c79ee5", "a66cd08a"]
    assert aes_ctr_words(key, 4) == expected
    assert words_of(key, 4) == expected


def test_our_mask_follows_the_specification_under_our_label() -> None:
    key = expand(K, b"pharmonia/sa/v1/mask|" + RH, 16)
    assert mask_key(K, RH) == key
    assert words_of(mask_key(K, RH), 300_001)[-2:] == aes_ctr_words(key, 300_001)[-2:]
    assert self_mask_key(K, RH) == expand(K, b"pharmonia/sa/v1/self|" + RH, 16)


def test_everything_hashed_is_length_prefixed_and_labelled() -> None:
    def prefixed(field: bytes) -> bytes:
        return len(field).to_bytes(8, "little") + field

    assert digest("x", b"ab", b"") == hashlib.sha256(b"pharmonia/sa/v1/x|" + prefixed(b"ab") + prefixed(b"")).digest()
    assert digest("x", b"a", b"b") != digest("x", b"ab", b"")


def test_the_specification_s_encoding() -> None:
    header = RoundHeader(
        session=SESSION,
        round_index=0,
        tier=Tier.COMMIT_THEN_MASK,
        word_bytes=4,
        length=5,
        degree=1,
        weight_bits=0,
        exponents=(4,),
        layout_digest=Layout(names=("x",), lengths=(5,)).digest,
        model_digest=MODEL,
        contributors=("a", "b"),
    )
    words = np.zeros(7, dtype="<u4")
    encode_onto(words, VALUES, Layout(names=("x",), lengths=(5,)), header, 1)
    assert words.tolist() == [8, 2**32 - 8, 0, 40, 2**32 - 24, 1, 0]


if __name__ == "__main__":
    for file_name, make_vectors in GOLDEN.items():
        (FOLDER / file_name).write_text(json.dumps(make_vectors(), indent=2) + "\n")
