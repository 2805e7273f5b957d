"""Proofs that travel: that an entry stands in a ledger, and that a ledger only grew."""

import re
from dataclasses import dataclass

from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import EventError, LedgerError, ProofError
from pharmonia.governance.checkpoint import Checkpoint
from pharmonia.governance.events import require_digest, require_number
from pharmonia.governance.ledger import load_object, text_field
from pharmonia.governance.merkle import (
    HASH_BYTES,
    MAX_LEAVES,
    Nodes,
    consistency_path,
    inclusion_path,
    is_consistent,
    is_included,
    leaf_hash,
)

MAX_PATH = 64
_HASH = re.compile(rf"[0-9a-f]{{{2 * HASH_BYTES}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """Shows that an entry stands at one place of a ledger.

    Args:
        ledger: The consortium's id, 64 hexadecimal digits.
        index: The entry's place, from 0.
        size: Of the ledger that the proof is for, in entries.
        path: Siblings from the entry up to the root, 32 bytes each.

    Raises:
        EventError: A field that no proof has.
    """

    ledger: str
    index: int
    size: int
    path: tuple[bytes, ...]

    def __post_init__(self) -> None:
        require_digest("ledger", self.ledger)
        require_number("size", self.size, 1, MAX_LEAVES)
        require_number("index", self.index, 0, self.size - 1)
        _require_path(self.path)

    def shows(self, line: bytes, checkpoint: Checkpoint) -> bool:
        """Whether this line is that entry of the ledger of which the checkpoint speaks."""
        if (self.ledger, self.size) != (checkpoint.ledger, checkpoint.size):
            return False
        return is_included(leaf_hash(line), self.index, self.size, self.path, bytes.fromhex(checkpoint.root))

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        path = [one.hex() for one in self.path]
        return canonical_json({"ledger": self.ledger, "index": self.index, "size": self.size, "path": path})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """Shows that a ledger at one size begins with itself at a smaller size.

    Args:
        ledger: The consortium's id, 64 hexadecimal digits.
        old: The smaller size, at least 1.
        new: The larger size.
        path: As RFC 9162, 2.1.4.1 orders it, 32 bytes each.

    Raises:
        EventError: A field that no proof has.
    """

    ledger: str
    old: int
    new: int
    path: tuple[bytes, ...]

    def __post_init__(self) -> None:
        require_digest("ledger", self.ledger)
        require_number("new", self.new, 1, MAX_LEAVES)
        require_number("old", self.old, 1, self.new)
        _require_path(self.path)

    def shows(self, old: Checkpoint, new: Checkpoint) -> bool:
        """Whether the ledger of the new checkpoint begins with that of the old one."""
        stated = (self.ledger, self.ledger, self.old, self.new)
        if stated != (old.ledger, new.ledger, old.size, new.size):
            return False
        return is_consistent(self.old, self.new, bytes.fromhex(old.root), bytes.fromhex(new.root), self.path)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        path = [one.hex() for one in self.path]
        return canonical_json({"ledger": self.ledger, "old": self.old, "new": self.new, "path": path})


def prove_inclusion(ledger: str, index: int, size: int, nodes: Nodes) -> InclusionProof:
    """The proof for one entry, read from a store of hashes.

    Raises:
        ProofError: There is no such entry.
    """
    return InclusionProof(ledger=ledger, index=index, size=size, path=inclusion_path(index, size, nodes))


def prove_consistency(ledger: str, old: int, new: int, nodes: Nodes) -> ConsistencyProof:
    """The proof between two sizes, read from a store of hashes.

    Raises:
        ProofError: The old size is 0 or above the new one.
    """
    return ConsistencyProof(ledger=ledger, old=old, new=new, path=consistency_path(old, new, nodes))


def decode_inclusion(data: bytes) -> InclusionProof:
    """The proof that these bytes are.

    Raises:
        ProofError: They are not, byte for byte, a proof of inclusion.
    """
    try:
        body = load_object(data)
        proof = InclusionProof(
            ledger=text_field(body, "ledger"),
            index=_number(body, "index"),
            size=_number(body, "size"),
            path=_path(body),
        )
    except (EventError, LedgerError) as error:
        raise ProofError(f"this is no proof of inclusion: {error}") from error
    if proof.to_bytes() != data:
        raise ProofError("a proof of inclusion is not in canonical form, or has fields that none has")
    return proof


def decode_consistency(data: bytes) -> ConsistencyProof:
    """The proof that these bytes are.

    Raises:
        ProofError: They are not, byte for byte, a proof of consistency.
    """
    try:
        body = load_object(data)
        proof = ConsistencyProof(
            ledger=text_field(body, "ledger"), old=_number(body, "old"), new=_number(body, "new"), path=_path(body)
        )
    except (EventError, LedgerError) as error:
        raise ProofError(f"this is no proof of consistency: {error}") from error
    if proof.to_bytes() != data:
        raise ProofError("a proof of consistency is not in canonical form, or has fields that none has")
    return proof


def _require_path(path: tuple[bytes, ...]) -> None:
    if len(path) > MAX_PATH or any(len(one) != HASH_BYTES for one in path):
        raise EventError(f"a path holds at most {MAX_PATH} hashes of {HASH_BYTES} bytes")


def _number(body: dict[str, object], name: str) -> int:
    value = body.get(name)
    if type(value) is not int:
        raise LedgerError(f"{name} must be a whole number, got {type(value).__name__}")
    return value


def _path(body: dict[str, object]) -> tuple[bytes, ...]:
    values = body.get("path")
    if type(values) is not list or not all(type(one) is str and _HASH.fullmatch(one) for one in values):
        raise LedgerError("path must be a list of hashes in hexadecimal digits")
    return tuple(bytes.fromhex(one) for one in values)
