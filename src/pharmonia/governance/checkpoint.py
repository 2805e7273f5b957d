"""A ledger's state at one size, signed by the coordinator and cross-signed by partners."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import EventError, LedgerError
from pharmonia.governance.events import require_digest, require_key_id, require_number
from pharmonia.governance.identity import SIGNATURE_BYTES, PrivateKey, PublicKey
from pharmonia.governance.ledger import load_object, read_signature, read_time, require_time, text_field, write_time
from pharmonia.governance.merkle import MAX_LEAVES

DOMAIN = "ledger-checkpoint"
MAX_SIGNATURES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What is signed.

    Args:
        ledger: The consortium's id, 64 hexadecimal digits.
        size: Entries, at least 1.
        root: Of the tree of those entries, 64 hexadecimal digits.
        at: By the coordinator's clock; UTC, whole seconds.
        previous: Digest of the checkpoint before, so that none can be taken out unseen; None for the first.

    Raises:
        EventError: A field that no checkpoint has.
    """

    ledger: str
    size: int
    root: str
    at: datetime
    previous: str | None

    def __post_init__(self) -> None:
        require_digest("ledger", self.ledger)
        require_number("size", self.size, 1, MAX_LEAVES)
        require_digest("root", self.root)
        require_time(self.at)
        if self.previous is not None:
            require_digest("previous", self.previous)

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name this checkpoint, whoever signed it."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Canonical JSON; what signatures are over."""
        return canonical_json(_fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """One signature and the id of its key.

    Raises:
        EventError: Not a key's id, or not 64 bytes.
    """

    key: str
    signature: bytes

    def __post_init__(self) -> None:
        require_key_id("key", self.key)
        if len(self.signature) != SIGNATURE_BYTES:
            raise EventError(f"a signature has {SIGNATURE_BYTES} bytes, got {len(self.signature)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCheckpoint:
    """A checkpoint and who signed it.

    Args:
        checkpoint: What they signed.
        signatures: At least one, sorted by key id, one of each key.

    Raises:
        EventError: Signatures out of order, or two of one key.
    """

    checkpoint: Checkpoint
    signatures: tuple[Cosignature, ...]

    def __post_init__(self) -> None:
        keys = [one.key for one in self.signatures]
        if not 1 <= len(keys) <= MAX_SIGNATURES or keys != sorted(set(keys)):
            raise EventError(f"a checkpoint has 1 to {MAX_SIGNATURES} signatures, sorted by key, one of each")

    def to_line(self) -> bytes:
        """Canonical JSON, without the end of the line."""
        signatures: list[Json] = [{"key": one.key, "signature": one.signature.hex()} for one in self.signatures]
        return canonical_json({**_fields(self.checkpoint), "signatures": signatures})

    def signed_also_by(self, key: PrivateKey) -> "SignedCheckpoint":
        """The checkpoint with one more signature, in place of an earlier one of the same key."""
        return self.merged([sign_checkpoint(self.checkpoint, key)])

    def merged(self, others: Iterable["SignedCheckpoint"]) -> "SignedCheckpoint":
        """The checkpoint with the signatures of all.

        Raises:
            LedgerError: Another checkpoint is among them.
        """
        found = {one.key: one for one in self.signatures}
        for other in others:
            if other.checkpoint != self.checkpoint:
                raise LedgerError("signatures of two different checkpoints do not belong together")
            found |= {one.key: one for one in other.signatures}
        return replace(self, signatures=tuple(found[key] for key in sorted(found)))

    def false_signatures(self, keys: Mapping[str, PublicKey]) -> tuple[str, ...]:
        """The key ids whose signature is not of the key that these name, or that these do not name."""
        text = self.checkpoint.to_bytes()
        return tuple(
            one.key
            for one in self.signatures
            if one.key not in keys or not keys[one.key].verify(one.signature, DOMAIN, text)
        )


def sign_checkpoint(checkpoint: Checkpoint, key: PrivateKey) -> SignedCheckpoint:
    """The checkpoint under one signature."""
    signature = key.sign(DOMAIN, checkpoint.to_bytes())
    return SignedCheckpoint(
        checkpoint=checkpoint, signatures=(Cosignature(key=key.public.key_id, signature=signature),)
    )


def decode_checkpoint(line: bytes) -> SignedCheckpoint:
    """The checkpoint that a line is, its end taken off.

    Raises:
        LedgerError: It is not, byte for byte, the line of a checkpoint.
    """
    body = load_object(line)
    size, signatures = body.get("size"), body.get("signatures")
    if type(size) is not int or type(signatures) is not list:
        raise LedgerError("a checkpoint has a size, and a list of signatures")
    try:
        signed = SignedCheckpoint(
            checkpoint=Checkpoint(
                ledger=text_field(body, "ledger"),
                size=size,
                root=text_field(body, "root"),
                at=read_time(text_field(body, "at")),
                previous=None if body.get("previous") is None else text_field(body, "previous"),
            ),
            signatures=tuple(_cosignature(one) for one in signatures),
        )
    except EventError as error:
        raise LedgerError(f"a line that is no checkpoint: {error}") from error
    if signed.to_line() != line:
        raise LedgerError("a checkpoint is not in canonical form, or has fields that none has")
    return signed


def _fields(checkpoint: Checkpoint) -> dict[str, Json]:
    return {
        "ledger": checkpoint.ledger,
        "size": checkpoint.size,
        "root": checkpoint.root,
        "at": write_time(checkpoint.at),
        "previous": checkpoint.previous,
    }


def _cosignature(value: object) -> Cosignature:
    if type(value) is not dict:
        raise LedgerError("a signature must be an object of key and signature")
    return Cosignature(key=text_field(value, "key"), signature=read_signature(text_field(value, "signature")))
