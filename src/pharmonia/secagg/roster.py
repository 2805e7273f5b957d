"""Who takes part under which terms, and their signed session keys: public knowledge of partners and server alike."""

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pharmonia.base.errors import KeyExchangeError, MessageError, RosterError
from pharmonia.secagg.wire import digest, label, u64

KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAX_ID_BYTES = 64
MAX_PARTNERS = 255
MAX_COMPLETE = 10  # partners; above, each is masked against its neighbours on a ring


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A partner and the Ed25519 public key that the signed agreement pins for it.

    Raises:
        RosterError: An id that is empty, long or unprintable, or a key that is not 32 bytes.
    """

    id: str
    identity: bytes

    def __post_init__(self) -> None:
        if not self.id.isprintable() or not 1 <= len(self.id.encode()) <= MAX_ID_BYTES:
            raise RosterError(f"a partner id is 1 to {MAX_ID_BYTES} bytes of printable text, got {self.id!r}")
        if len(self.identity) != KEY_BYTES:
            raise RosterError(f"{self.id}: an identity has {KEY_BYTES} bytes, got {len(self.identity)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """The partners of a session and the terms that each enforces for itself.

    Args:
        session: 32 bytes, never used for two key exchanges.
        members: At least 2, sorted by id.
        n_colluders: Partners that may pool what they see with the server without learning another's update.
        ring_degree: Neighbours of each partner when more than 10 take part; even.

    Raises:
        RosterError: Terms that cannot protect anybody.
    """

    session: bytes
    members: tuple[Member, ...]
    n_colluders: int
    ring_degree: int

    def __post_init__(self) -> None:
        ids = [member.id for member in self.members]
        n = len(ids)
        if not 2 <= n <= MAX_PARTNERS or ids != sorted_ids(ids) or len({m.identity for m in self.members}) != n:
            raise RosterError(f"expected 2 to {MAX_PARTNERS} partners sorted by id, each with its own key, got {ids}")
        if len(self.session) != KEY_BYTES:
            raise RosterError(f"a session id has {KEY_BYTES} bytes, got {len(self.session)}")
        if not 0 <= self.n_colluders <= n - 2:
            raise RosterError(f"{n} partners cannot hide an update from {self.n_colluders} of them and the server")
        if self.ring_degree % 2 or not self.n_colluders < self.ring_degree <= MAX_PARTNERS:
            raise RosterError(f"a ring's degree is even and above {self.n_colluders}, got {self.ring_degree}")

    @property
    def min_contributors(self) -> int:
        """The fewest partners that a sum may be made of."""
        return fewest_contributors(len(self.members), self.n_colluders)

    def degree(self, n: int) -> int:
        """Neighbours of each of n contributors: all others up to 10 contributors, then those on the ring."""
        return n - 1 if n <= MAX_COMPLETE else min(self.ring_degree, n - 1)

    def share_threshold(self, n: int) -> int:
        """Shares that open a self-mask among n contributors, and signatures that fix the survivors.

        floor((n + colluders)/2) + 1: two sets of that size have an honest partner in common, and it signs once.
        """
        return (n + self.n_colluders) // 2 + 1

    def identity_of(self, partner: str) -> bytes:
        """The pinned key of a partner.

        Raises:
            KeyExchangeError: Not a member.
        """
        for member in self.members:
            if member.id == partner:
                return member.identity
        raise KeyExchangeError(f"{partner} is not on the roster")


def fewest_contributors(n_members: int, n_colluders: int) -> int:
    """The fewest of n members that a sum may be made of: max(colluders + 2, floor(n/2) + 1)."""
    return max(n_colluders + 2, n_members // 2 + 1)


def sorted_ids(ids: list[str]) -> list[str]:
    """Distinct ids in the order of their UTF-8 bytes."""
    return sorted(set(ids), key=str.encode)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOffer:
    """A partner's X25519 key for one session, signed by its identity; checked where a `Directory` is made."""

    partner: str
    public: bytes
    signature: bytes

    def __post_init__(self) -> None:
        if len(self.public) != KEY_BYTES or len(self.signature) != SIGNATURE_BYTES:
            raise MessageError(f"{self.partner}: a key offer holds {KEY_BYTES} and {SIGNATURE_BYTES} bytes")


def offer_text(session: bytes, partner: str, public: bytes) -> bytes:
    """What an identity signs to vouch for a session key."""
    return label("offer") + digest("offer", session, partner.encode(), public)


def is_signed(identity: bytes, signature: bytes, text: bytes) -> bool:
    """Whether an Ed25519 signature over the text is by this identity."""
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(signature, text)
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The session keys of the members that take part, every signature checked against its pinned identity.

    Args:
        roster: Members and terms.
        offers: One for each member that takes part, sorted by id; members without one sit the session out.

    Raises:
        KeyExchangeError: A foreign id, a repeated one, or a signature that its identity did not make.
        RosterError: Fewer than a sum may be made of.

    Guarantees:
        a_swapped_key_is_refused: Nobody but the owner of a pinned identity can place a session key.
    """

    roster: Roster
    offers: tuple[KeyOffer, ...]
    salt: bytes = field(init=False)  # binds session, terms and every key into each pair key

    def __post_init__(self) -> None:
        ids = [offer.partner for offer in self.offers]
        if ids != sorted_ids(ids):
            raise KeyExchangeError(f"expected one key offer per partner, sorted by id, got {ids}")
        if len(ids) < self.roster.min_contributors:
            raise RosterError(f"{len(ids)} partners offered a key; a sum takes {self.roster.min_contributors}")
        for offer in self.offers:
            text = offer_text(self.roster.session, offer.partner, offer.public)
            if not is_signed(self.roster.identity_of(offer.partner), offer.signature, text):
                raise KeyExchangeError(f"{offer.partner}: the session key is not signed by the pinned identity")
        object.__setattr__(self, "salt", self._digest())

    def _digest(self) -> bytes:
        terms = [self.roster.session, u64(self.roster.n_colluders), u64(self.roster.ring_degree)]
        members = [f for m in self.roster.members for f in (m.id.encode(), m.identity)]
        keys = [f for offer in self.offers for f in (offer.partner.encode(), offer.public)]
        return digest("directory", *terms, u64(len(self.roster.members)), *members, *keys)

    @property
    def partners(self) -> tuple[str, ...]:
        """Ids of those that take part, sorted."""
        return tuple(offer.partner for offer in self.offers)
