"""What a round sums, under which scale and among whom: hashed into every mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pharmonia.base.errors import MessageError
from pharmonia.secagg.roster import KEY_BYTES, sorted_ids
from pharmonia.secagg.wire import DIGEST_BYTES, digest, number_of, pack, text_of, u64, unpack

MAX_ROUND = 2**63 - 1
MAX_LENGTH = 2**32
MAX_TENSORS = 2**16  # of a vector; each has a scale in the header
MAX_EXPONENT = 100
MAX_WEIGHT_BITS = 24  # a weight and its quotient by 2^bits are then exact in float32
N_TRAILING = 2  # words after the values: weight and clip count
Words = npt.NDArray[np.unsignedinteger]


class Tier(IntEnum):
    """What a lost partner costs: A, the step; B, nothing, for some kilobytes and a second exchange."""

    COMMIT_THEN_MASK = 1
    DROPOUT_TOLERANT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Names and lengths of the tensors in a vector, in order.

    Raises:
        MessageError: No tensors, an empty one, a name twice, or more tensors or elements than a round can hold.
    """

    names: tuple[str, ...]
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.lengths) or len(set(self.names)) != len(self.names) or not self.names:
            raise MessageError(f"expected distinct names and a length for each, got {self.names} and {self.lengths}")
        if len(self.names) > MAX_TENSORS:
            raise MessageError(f"a vector has at most {MAX_TENSORS} tensors, got {len(self.names)}")
        if min(self.lengths) < 1 or self.length > MAX_LENGTH:
            raise MessageError(f"tensors hold 1 to {MAX_LENGTH} elements together, got {self.lengths}")

    @property
    def length(self) -> int:
        """Elements of the whole vector."""
        return sum(self.lengths)

    @property
    def digest(self) -> bytes:
        """32 bytes that name this layout."""
        pairs = zip(self.names, self.lengths, strict=True)
        return digest("layout", *(part for name, length in pairs for part in (name.encode(), u64(length))))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundHeader:
    """Everything that all contributors to one sum must agree on; two headers that differ give unrelated masks.

    Args:
        session: 32 bytes.
        round_index: Counts every masked vector of a session, sums of counts too; it only rises.
        tier: Also hashed, so that nobody can be told another tier than the rest.
        word_bytes: 4 for values in fixed point, 2 for counts.
        length: Elements, without the two trailing words of a sum of values.
        degree: Neighbours of each contributor in the graph of masks.
        weight_bits: Weights are at most W_max = 2^weight_bits; 0 for counts.
        exponents: One s per tensor; its values are multiplied by 2^s. Empty for counts.
        layout_digest: Of the layout that all share.
        model_digest: 32 bytes; of the model that the updates start from.
        contributors: U, at least 2, sorted by id.

    Raises:
        MessageError: A field that no honest server sends.
    """

    session: bytes
    round_index: int
    tier: Tier
    word_bytes: int
    length: int
    degree: int
    weight_bits: int
    exponents: tuple[int, ...]
    layout_digest: bytes
    model_digest: bytes
    contributors: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.contributors)
        ids = list(self.contributors)
        if n < 2 or ids != sorted_ids(ids):
            raise MessageError(f"contributors must be at least two, sorted, got {ids}")
        if not 0 <= self.round_index <= MAX_ROUND or not 1 <= self.length <= MAX_LENGTH:
            raise MessageError(f"round {self.round_index} and length {self.length} must be in their ranges")
        if {len(self.session), len(self.layout_digest), len(self.model_digest)} != {DIGEST_BYTES, KEY_BYTES}:
            raise MessageError("session, layout and model are named by 32 bytes each")
        if not 1 <= self.degree <= n - 1 or (self.degree % 2 and self.degree != n - 1):
            raise MessageError(f"{n} contributors cannot each have {self.degree} neighbours")
        self._check_words()

    def _check_words(self) -> None:
        match self.word_bytes:
            case 2:
                if self.exponents or self.weight_bits:
                    raise MessageError("counts have neither scales nor weights")
            case 4:
                if not self.exponents or any(abs(s) > MAX_EXPONENT for s in self.exponents):
                    raise MessageError(f"scale exponents lie within {MAX_EXPONENT} of 0, got {self.exponents}")
                if not 0 <= self.weight_bits <= MAX_WEIGHT_BITS:
                    raise MessageError(f"weights have 0 to {MAX_WEIGHT_BITS} bits, got {self.weight_bits}")
            case _:
                raise MessageError(f"words have 2 or 4 bytes, got {self.word_bytes}")

    @property
    def is_counts(self) -> bool:
        """Whether the sum is of counts, else of values."""
        return self.word_bytes == 2

    @property
    def n_words(self) -> int:
        """Words of a masked vector."""
        return self.length if self.is_counts else self.length + N_TRAILING

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Little-endian words."""
        return np.dtype("<u2" if self.is_counts else "<u4")

    @property
    def max_weight(self) -> int:
        """W_max, a power of two."""
        return 1 << self.weight_bits

    @property
    def digest(self) -> bytes:
        """rh, 32 bytes."""
        return digest("header", *self.fields())

    def fields(self) -> list[bytes]:
        """The header as fields of a frame; `from_fields` reads them."""
        numbers = (self.round_index, self.tier, self.word_bytes, self.length, self.degree, self.weight_bits)
        scales = np.array(self.exponents, dtype=np.int8).tobytes()
        ids = pack(partner.encode() for partner in self.contributors)
        return [self.session, *map(u64, numbers), scales, self.layout_digest, self.model_digest, ids]

    @staticmethod
    def from_fields(fields: Sequence[memoryview]) -> "RoundHeader":
        """The header in the fields of a frame.

        Raises:
            MessageError: Not fields that `fields` writes.
        """
        if len(fields) != 11:
            raise MessageError(f"a header has 11 fields, got {len(fields)}")
        session, *numbers, scales, layout, model, ids = fields
        round_index, tier, word_bytes, length, degree, weight_bits = map(number_of, numbers)
        if len(scales) > MAX_TENSORS:
            raise MessageError(f"a header has a scale for each of at most {MAX_TENSORS} tensors, got {len(scales)}")
        if tier not in set(Tier):
            raise MessageError(f"there is no tier {tier}")
        return RoundHeader(
            session=bytes(session),
            round_index=round_index,
            tier=Tier(tier),
            word_bytes=word_bytes,
            length=length,
            degree=degree,
            weight_bits=weight_bits,
            exponents=tuple(np.frombuffer(scales, dtype=np.int8).tolist()),
            layout_digest=bytes(layout),
            model_digest=bytes(model),
            contributors=tuple(map(text_of, unpack(ids))),
        )


@lru_cache(maxsize=8)
def _ring(header: RoundHeader) -> tuple[str, ...]:
    rh = header.digest
    return tuple(sorted(header.contributors, key=lambda member: digest("ring", rh, member.encode())))


def neighbours(header: RoundHeader, partner: str) -> tuple[str, ...]:
    """The contributors that a contributor shares masks with, sorted by id.

    All others, or the nearest degree/2 on each side of a ring in the order of H(rh, id). The ring stays connected when
    any degree - 1 of its members are taken out, wherever the hash has put them.
    """
    ids = header.contributors
    n = len(ids)
    if header.degree == n - 1:
        return tuple(other for other in ids if other != partner)
    ring = _ring(header)
    place = ring.index(partner)
    half = header.degree // 2
    near = {ring[(place + step) % n] for step in range(-half, half + 1)} - {partner}
    return tuple(member for member in ids if member in near)
