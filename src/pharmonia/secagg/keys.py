"""A partner's secrets: identity, session key and the keys it shares with each other partner. Partner side only."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pharmonia.base.errors import KeyExchangeError
from pharmonia.secagg.roster import KEY_BYTES, Directory, KeyOffer, Roster, offer_text
from pharmonia.secagg.wire import label, pack


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class IdentityKey:
    """A partner's long-term Ed25519 signing key; its public half is pinned in the signed agreement."""

    private: Ed25519PrivateKey

    @staticmethod
    def generate() -> "IdentityKey":
        """A fresh key from the operating system's randomness."""
        return IdentityKey(Ed25519PrivateKey.generate())

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return self.private.public_key().public_bytes_raw()

    def sign(self, text: bytes) -> bytes:
        """64 bytes; the text begins with a label of its own."""
        return self.private.sign(text)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SessionKey:
    """A partner's X25519 key for one session; never stored, so that a seized disk opens no past sum."""

    private: X25519PrivateKey

    @staticmethod
    def generate() -> "SessionKey":
        """A fresh key from the operating system's randomness."""
        return SessionKey(X25519PrivateKey.generate())

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return self.private.public_key().public_bytes_raw()


def make_offer(roster: Roster, partner: str, identity: IdentityKey, key: SessionKey) -> KeyOffer:
    """The session key's public half, signed.

    Raises:
        KeyExchangeError: The roster pins another identity for this partner.
    """
    if roster.identity_of(partner) != identity.public:
        raise KeyExchangeError(f"{partner}: the roster pins another identity than ours")
    signature = identity.sign(offer_text(roster.session, partner, key.public))
    return KeyOffer(partner=partner, public=key.public, signature=signature)


def pair_keys(directory: Directory, partner: str, key: SessionKey) -> Mapping[str, bytes]:
    """K_ij of 32 bytes with every other partner in the directory.

    K_ij = HKDF-SHA256(X25519(i, j), salt = the directory's digest, info = label | min id | max id).

    Raises:
        KeyExchangeError: Our own key is missing or not ours, or another's is a point of small order.
    """
    own = [offer.public for offer in directory.offers if offer.partner == partner]
    if own != [key.public]:
        raise KeyExchangeError(f"{partner}: the directory does not hold our session key")
    keys = {o.partner: _pair_key(directory.salt, partner, key, o) for o in directory.offers if o.partner != partner}
    return MappingProxyType(keys)


def _pair_key(salt: bytes, partner: str, key: SessionKey, offer: KeyOffer) -> bytes:
    try:
        secret = key.private.exchange(X25519PublicKey.from_public_bytes(offer.public))
    except ValueError as error:
        raise KeyExchangeError(f"{offer.partner}: the session key is a point of small order") from error
    ids = sorted([partner.encode(), offer.partner.encode()])
    kdf = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=salt, info=label("pair") + pack(ids))
    return kdf.derive(secret)
