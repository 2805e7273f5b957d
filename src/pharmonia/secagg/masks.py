"""The sum of a partner's masks, made while it trains, and its seed's sealed shares. Partner side only."""

from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from pharmonia.base.errors import MessageError, SurvivorsError
from pharmonia.secagg.header import RoundHeader, Words, neighbours
from pharmonia.secagg.shamir import split
from pharmonia.secagg.streams import Stream, add_streams, aligned_words, mask_key, self_mask_key
from pharmonia.secagg.wire import label, pack

SEED_BYTES = 32
_NONCE = bytes(12)  # each box has a key of its own


class MaskSum:
    """All masks of one partner in one round, added up: a one-time pad.

    Guarantees:
        a_mask_sum_is_used_once: Its words can be taken once; the update is then added onto them in place.
    """

    __slots__ = ("_words", "header", "seed")

    def __init__(self, header: RoundHeader, words: Words, seed: bytes) -> None:
        """Seed: of the self-mask, 32 bytes; empty in tier A."""
        self.header = header
        self.seed = seed
        self._words: Words | None = words

    def take(self) -> Words:
        """The words, which this object gives up.

        Raises:
            MessageError: Taken before.
        """
        if self._words is None:
            raise MessageError(f"round {self.header.round_index}: this mask has been used")
        words, self._words = self._words, None
        return words


def sum_masks(header: RoundHeader, partner: str, pair_keys: Mapping[str, bytes], seed: bytes) -> MaskSum:
    """Every mask of a partner in a round: the lower id adds, the higher subtracts, and the self-mask is added.

    Args:
        header: Whose digest keys every stream.
        partner: One of its contributors.
        pair_keys: K_ij by partner.
        seed: b_i, fresh 32 bytes, in tier B; empty in tier A.
    """
    rh = header.digest
    streams = [
        Stream(mask_key(pair_keys[other], rh), partner.encode() < other.encode())
        for other in neighbours(header, partner)
    ]
    if seed:
        streams.append(Stream(self_mask_key(seed, rh), is_added=True))
    words = aligned_words(header.n_words, header.dtype)
    add_streams(words, streams, fresh=True)
    return MaskSum(header, words, seed)


def seal_shares(
    header: RoundHeader, partner: str, pair_keys: Mapping[str, bytes], mask: MaskSum, threshold: int
) -> tuple[tuple[bytes, ...], bytes]:
    """A box with a share of the seed for each other contributor, in order, and the partner's own share."""
    shares = dict(zip(header.contributors, split(mask.seed, threshold, len(header.contributors)), strict=True))
    own = shares.pop(partner)
    rh = header.digest
    boxes = tuple(
        AESGCM(_box_key(pair_keys[other], rh, partner, other)).encrypt(_NONCE, share, rh)
        for other, share in shares.items()
    )
    return boxes, own


def open_box(round_digest: bytes, sender: str, recipient: str, pair_key: bytes, box: bytes) -> bytes:
    """The share that a sender sealed for a recipient in this round.

    Raises:
        SurvivorsError: The box was changed, or sealed for another round or recipient.
    """
    try:
        return AESGCM(_box_key(pair_key, round_digest, sender, recipient)).decrypt(_NONCE, box, round_digest)
    except InvalidTag as error:
        raise SurvivorsError(f"{recipient} cannot open the box from {sender}") from error


def _box_key(pair_key: bytes, round_digest: bytes, sender: str, recipient: str) -> bytes:
    info = label("box") + round_digest + pack([sender.encode(), recipient.encode()])
    return HKDFExpand(algorithm=hashes.SHA256(), length=16, info=info).derive(pair_key)
