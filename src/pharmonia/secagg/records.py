"""What a partner must have on disk before a masked update leaves it. Partner side only."""

from dataclasses import dataclass

from pharmonia.base.errors import MessageError
from pharmonia.secagg.wire import DIGEST_BYTES, number_of, pack, u64, unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRecord:
    """One masked vector: enough to never mask under its round again, nor the same update among others.

    Args:
        session: 32 bytes.
        round_index: Of the header.
        update_digest: Tells this update from others; of extrema, not of all values; empty if all are zero.
        contributors_digest: Of the contributors among whom it was masked; in the session, of survivors once signed.

    Raises:
        MessageError: A field of the wrong size.
    """

    session: bytes
    round_index: int
    update_digest: bytes
    contributors_digest: bytes

    def __post_init__(self) -> None:
        sizes = {len(self.session), len(self.contributors_digest), len(self.update_digest) or DIGEST_BYTES}
        if sizes != {DIGEST_BYTES}:
            raise MessageError(f"a mask record holds digests of {DIGEST_BYTES} bytes")

    def is_same_update_elsewhere(self, other: "MaskRecord") -> bool:
        """Whether both are of one update, among different contributors."""
        same = self.update_digest == other.update_digest != b""
        return same and self.contributors_digest != other.contributors_digest

    def to_bytes(self) -> bytes:
        """For the shell to persist."""
        return pack([self.session, u64(self.round_index), self.update_digest, self.contributors_digest])

    @staticmethod
    def from_bytes(data: bytes) -> "MaskRecord":
        """What was persisted.

        Raises:
            MessageError: Not the bytes of a record.
        """
        fields = unpack(data)
        if len(fields) != 4:
            raise MessageError(f"a mask record has 4 fields, got {len(fields)}")
        session, round_index, update, contributors = fields
        return MaskRecord(
            session=bytes(session),
            round_index=number_of(round_index),
            update_digest=bytes(update),
            contributors_digest=bytes(contributors),
        )
