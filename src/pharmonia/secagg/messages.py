"""What partners and server say to each other, and its bytes. None of it holds an update in the clear."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pharmonia.base.arrays import frozen_view
from pharmonia.base.errors import MessageError
from pharmonia.secagg.header import MAX_ROUND, RoundHeader, Words
from pharmonia.secagg.roster import SIGNATURE_BYTES, KeyOffer, sorted_ids
from pharmonia.secagg.shamir import SHARE_BYTES
from pharmonia.secagg.streams import STREAM_KEY_BYTES
from pharmonia.secagg.wire import (
    DIGEST_BYTES,
    MAX_FIELDS,
    Bytes,
    digest,
    frame_parts,
    label,
    number_of,
    pack,
    text_of,
    u64,
    unframe,
    unpack,
)

BOX_BYTES = SHARE_BYTES + 16  # AES-GCM's tag


class Kind(IntEnum):
    """What a frame holds."""

    KEY_OFFER = 1
    KEY_OFFERS = 2
    READY = 3
    ROUND_HEADER = 4
    MASKED_UPDATE = 5
    SURVIVOR_SET = 6
    SURVIVOR_SIGNATURE = 7
    CONFIRMED_SURVIVORS = 8
    REVEAL = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOffers:
    """Server to partners: all offers of a session; each partner makes its own `Directory` of them."""

    offers: tuple[KeyOffer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Partner to server: I shall contribute to this round, from this model, in this layout."""

    partner: str
    session: bytes
    round_index: int
    layout_digest: bytes
    model_digest: bytes

    def __post_init__(self) -> None:
        for name in (self.session, self.layout_digest, self.model_digest):
            _check_size(name, DIGEST_BYTES, "a digest")
        if self.round_index > MAX_ROUND:
            raise MessageError(f"there is no round {self.round_index}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskedUpdate:
    """Partner to server: the only form in which an update leaves; uniform noise to whoever lacks the masks.

    Args:
        partner: Who contributes.
        round_digest: rh of the header that it was masked under.
        words: The header's words, masked.
        seed_digest: Commitment to the self-mask's seed; empty in tier A.
        boxes: The seed's shares, sealed for each other contributor in order; empty in tier A.
    """

    partner: str
    round_digest: bytes
    words: Words
    seed_digest: bytes
    boxes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        _check_size(self.round_digest, DIGEST_BYTES, "a digest")
        if self.boxes or self.seed_digest:
            _check_size(self.seed_digest, DIGEST_BYTES, "a digest")
        for box in self.boxes:
            _check_size(box, BOX_BYTES, "a box")
        object.__setattr__(self, "words", frozen_view(self.words))


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivorSet:
    """Server to survivors: whose masked updates arrived; each signs one such set per round."""

    round_digest: bytes
    survivors: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_size(self.round_digest, DIGEST_BYTES, "a digest")
        if list(self.survivors) != sorted_ids(list(self.survivors)) or not self.survivors:
            raise MessageError(f"survivors must be sorted and distinct, got {self.survivors}")

    @property
    def text(self) -> bytes:
        """What each survivor signs."""
        return label("survivors") + digest("survivors", self.round_digest, *map(str.encode, self.survivors))


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivorSignature:
    """Survivor to server: I shall answer for this set and for no other in this round."""

    partner: str
    round_digest: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _check_size(self.round_digest, DIGEST_BYTES, "a digest")
        _check_size(self.signature, SIGNATURE_BYTES, "a signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedSurvivors:
    """Server to one survivor: the set, enough signatures on it, and the boxes that the others sealed for it.

    Args:
        survivors: The set.
        signers: Who signed, sorted.
        signatures: One for each signer.
        boxes: One from each survivor but the recipient, in order.
    """

    survivors: SurvivorSet
    signers: tuple[str, ...]
    signatures: tuple[bytes, ...]
    boxes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if list(self.signers) != sorted_ids(list(self.signers)) or len(self.signers) != len(self.signatures):
            raise MessageError(f"expected one signature for each of sorted signers, got {self.signers}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reveal:
    """Survivor to server: what unmasks the sum over the survivors, and nothing else.

    Args:
        partner: Who answers.
        round_digest: rh.
        shares: Of each survivor's self-mask seed, in order of survivors.
        mask_keys: Round keys shared with each neighbour that is lost, in order of partners.
    """

    partner: str
    round_digest: bytes
    shares: tuple[bytes, ...]
    mask_keys: tuple[bytes, ...]

    def __post_init__(self) -> None:
        _check_size(self.round_digest, DIGEST_BYTES, "a digest")


Message = (
    KeyOffer
    | KeyOffers
    | Ready
    | RoundHeader
    | MaskedUpdate
    | SurvivorSet
    | SurvivorSignature
    | ConfirmedSurvivors
    | Reveal
)


def _check_size(data: bytes, size: int, what: str) -> None:
    if len(data) != size:
        raise MessageError(f"{what} has {size} bytes, got {len(data)}")


def encode(message: Message) -> bytes:
    """The frame of a message."""
    return b"".join(encode_parts(message))


def encode_parts(message: Message) -> list[Bytes]:
    """The frame in pieces, to be sent one after another; the words of an update are not copied."""
    kind, fields = _fields(message)
    return frame_parts(kind, fields)


def _fields(message: Message) -> tuple[Kind, Sequence[Bytes]]:
    match message:
        case KeyOffer():
            found = Kind.KEY_OFFER, _offer_fields(message)
        case KeyOffers():
            found = Kind.KEY_OFFERS, [pack(_offer_fields(offer)) for offer in message.offers]
        case Ready() as m:
            found = Kind.READY, [m.partner.encode(), m.session, u64(m.round_index), m.layout_digest, m.model_digest]
        case RoundHeader():
            found = Kind.ROUND_HEADER, message.fields()
        case MaskedUpdate() as m:
            return Kind.MASKED_UPDATE, _update_fields(m)
        case SurvivorSet():
            found = Kind.SURVIVOR_SET, [message.round_digest, _pack_ids(message.survivors)]
        case SurvivorSignature() as m:
            found = Kind.SURVIVOR_SIGNATURE, [m.partner.encode(), m.round_digest, m.signature]
        case ConfirmedSurvivors() as m:
            ids = [_pack_ids(m.survivors.survivors), _pack_ids(m.signers)]
            blobs = [b"".join(m.signatures), b"".join(m.boxes)]
            found = Kind.CONFIRMED_SURVIVORS, [m.survivors.round_digest, *ids, *blobs]
        case _ as m:  # Reveal
            found = Kind.REVEAL, [m.partner.encode(), m.round_digest, b"".join(m.shares), b"".join(m.mask_keys)]
    return found


def _update_fields(update: MaskedUpdate) -> list[Bytes]:
    words = update.words.view(np.uint8).data
    head = [update.partner.encode(), update.round_digest, update.seed_digest, b"".join(update.boxes)]
    return [*head, bytes([update.words.itemsize]), words]


def _offer_fields(offer: KeyOffer) -> list[bytes]:
    return [offer.partner.encode(), offer.public, offer.signature]


def _pack_ids(ids: Sequence[str]) -> bytes:
    return pack(partner.encode() for partner in ids)


def _ids(field: Bytes) -> tuple[str, ...]:
    return tuple(map(text_of, unpack(field)))


def _blocks(field: memoryview, size: int) -> tuple[bytes, ...]:
    if len(field) % size:
        raise MessageError(f"expected blocks of {size} bytes, got {len(field)} bytes")
    if len(field) > MAX_FIELDS * size:
        raise MessageError(f"there are more than {MAX_FIELDS} blocks of {size} bytes")
    return tuple(bytes(field[start : start + size]) for start in range(0, len(field), size))


def decode(frame: Bytes) -> Message:
    """The message in a frame; the words of a masked update are a view into it.

    Raises:
        MessageError: Truncated, damaged, of another version or kind, or with fields that do not belong there.
    """
    kind, fields = unframe(frame)
    if kind not in set(Kind):
        raise MessageError(f"there is no kind {kind}")
    try:
        return _message(Kind(kind), fields)
    except ValueError as error:
        raise MessageError(f"a {Kind(kind).name.lower()} frame has {len(fields)} fields: {error}") from error


def _message(kind: Kind, fields: list[memoryview]) -> Message:
    message: Message
    match kind:
        case Kind.KEY_OFFER:
            message = _offer(fields)
        case Kind.KEY_OFFERS:
            message = KeyOffers(offers=tuple(_offer(unpack(field)) for field in fields))
        case Kind.READY:
            message = _ready(fields)
        case Kind.ROUND_HEADER:
            message = RoundHeader.from_fields(fields)
        case Kind.MASKED_UPDATE:
            message = _masked_update(fields)
        case Kind.SURVIVOR_SET:
            round_digest, ids = map(bytes, fields)
            message = SurvivorSet(round_digest=round_digest, survivors=_ids(ids))
        case Kind.SURVIVOR_SIGNATURE:
            partner, round_digest, signature = map(bytes, fields)
            message = SurvivorSignature(partner=text_of(partner), round_digest=round_digest, signature=signature)
        case Kind.CONFIRMED_SURVIVORS:
            message = _confirmed(fields)
        case _:  # Kind.REVEAL
            message = _reveal(fields)
    return message


def _offer(fields: list[memoryview]) -> KeyOffer:
    partner, public, signature = fields
    return KeyOffer(partner=text_of(partner), public=bytes(public), signature=bytes(signature))


def _ready(fields: list[memoryview]) -> Ready:
    partner, session, round_index, layout, model = fields
    return Ready(
        partner=text_of(partner),
        session=bytes(session),
        round_index=number_of(round_index),
        layout_digest=bytes(layout),
        model_digest=bytes(model),
    )


def _masked_update(fields: list[memoryview]) -> MaskedUpdate:
    partner, round_digest, seed_digest, boxes, size, words = fields
    if bytes(size) not in (b"\x02", b"\x04") or len(words) % size[0]:
        raise MessageError("a masked update holds whole words of 2 or 4 bytes")
    return MaskedUpdate(
        partner=text_of(partner),
        round_digest=bytes(round_digest),
        words=np.frombuffer(words, dtype=np.dtype(f"<u{size[0]}")),
        seed_digest=bytes(seed_digest),
        boxes=_blocks(boxes, BOX_BYTES),
    )


def _confirmed(fields: list[memoryview]) -> ConfirmedSurvivors:
    round_digest, survivors, signers, signatures, boxes = fields
    return ConfirmedSurvivors(
        survivors=SurvivorSet(round_digest=bytes(round_digest), survivors=_ids(survivors)),
        signers=_ids(signers),
        signatures=_blocks(signatures, SIGNATURE_BYTES),
        boxes=_blocks(boxes, BOX_BYTES),
    )


def _reveal(fields: list[memoryview]) -> Reveal:
    partner, round_digest, shares, keys = fields
    return Reveal(
        partner=text_of(partner),
        round_digest=bytes(round_digest),
        shares=_blocks(shares, SHARE_BYTES),
        mask_keys=_blocks(keys, STREAM_KEY_BYTES),
    )
