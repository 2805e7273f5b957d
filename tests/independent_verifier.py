"""A second implementation of the hash and signature checks of a ledger; it imports nothing of pharmonia.

Usage: python tests/independent_verifier.py LEDGER AGREEMENT
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Json = Any  # whatever a file holds


def canonical(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def length_prefixed(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def is_signed(public_key: str, domain: bytes, message: bytes, signature: str) -> bool:
    text = b"pharmonia/governance/v1/sign|" + length_prefixed(domain) + length_prefixed(message)
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), text)
    except (InvalidSignature, ValueError):
        return False
    return signature == signature.lower()


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162, section 2.1.1, from hashes of leaves."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else sha256(b"")
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:]))


def read(line: bytes) -> Json:
    """The object on a line in canonical form, or None."""
    try:
        value = json.loads(line)
        good = isinstance(value, dict) and canonical(value) + b"\n" == line
    except (ValueError, RecursionError):
        return None
    return value if good else None


def taken(value: Json, name: str) -> tuple[Json, bytes]:
    """A field, and the canonical bytes of the rest."""
    rest = {key: inner for key, inner in value.items() if key != name}
    return value.get(name), canonical(rest)


class Verifier:
    """Which entries and which checkpoints do not hold, by place."""

    def __init__(self, agreement: Json) -> None:
        self.versions = [version["body"] for version in agreement["versions"]]
        documents = [{"format": agreement["format"], "body": body} for body in self.versions]
        self.digests = [sha256(canonical(document)).hex() for document in documents]
        self.ledger = self.digests[0]
        self.n_adopted = 0
        self.leaves: list[bytes] = []
        self.bad_entries: list[int] = []
        self.bad_checkpoints: list[int] = []

    def keys(self, index: int) -> dict[str, Json]:
        return {k["key_id"]: k for k in self.versions[max(0, index)]["keys"] if k["state"] == "active"}

    def take(self, line: bytes) -> None:
        index = len(self.leaves)
        self.leaves.append(sha256(b"\x00" + (line[:-1] if line.endswith(b"\n") else line)))
        try:
            good = self.holds(read(line))
        except (KeyError, TypeError, AttributeError):
            good = False
        if not good:
            self.bad_entries.append(index)

    def holds(self, entry: Json) -> bool:
        if entry is None or entry.get("ledger") != self.ledger or not isinstance(entry.get("events"), list):
            return False
        signature, content = taken(entry, "signature")
        adopts = [event.get("version") for event in entry["events"] if event.get("kind") == "agreement"]
        judging = self.n_adopted  # after the adoptions that the entry begins with, if they are the next ones
        for event, digest in zip(entry["events"], self.digests[self.n_adopted :], strict=False):
            named = {"kind": "agreement", "version": judging + 1, "agreement": digest}
            if event != named:
                break
            judging += 1
        key = self.keys(judging - 1).get(entry.get("key"))
        if key is None or entry["at"] > key["valid_until"]:
            return False
        if not is_signed(key["public_key"], b"ledger-entry", content, str(signature)):
            return False
        for version in adopts:
            self.n_adopted += version == self.n_adopted + 1 <= len(self.versions)
        return True

    def check(self, place: int, line: bytes) -> None:
        """A checkpoint of as many entries as were taken."""
        value = read(line)
        try:
            good = (value["ledger"], value["root"]) == (self.ledger, tree_hash(self.leaves).hex())
            good = good and self.is_cross_signed(value)
        except (KeyError, TypeError, AttributeError):
            good = False
        if not good:
            self.bad_checkpoints.append(place)

    def is_cross_signed(self, value: Json) -> bool:
        signatures, content = taken(value, "signatures")
        keys, terms = self.keys(self.n_adopted - 1), self.versions[max(0, self.n_adopted - 1)]["terms"]
        for one in signatures:
            key = keys.get(one["key"])
            if key is None or not is_signed(key["public_key"], b"ledger-checkpoint", content, one["signature"]):
                return False
        standing = [keys[one["key"]] for one in signatures if value["at"] <= keys[one["key"]]["valid_until"]]
        signers = {key["partner"] for key in standing}
        coordinators = {partner["id"] for partner in terms["partners"] if "coordinator" in partner["roles"]}
        return bool(signers & coordinators) and bool(len(signers) >= terms["thresholds"]["checkpoint"])


def verify(lines: list[bytes], checkpoint_lines: list[bytes], agreement: Json) -> tuple[str, list[int], list[int]]:
    """The root, and the places of entries and checkpoints that do not hold."""
    one = Verifier(agreement)
    sizes = [(read(line) or {}).get("size") for line in checkpoint_lines]
    for size in range(len(lines) + 1):
        for place, line in enumerate(checkpoint_lines):
            if sizes[place] == size:
                one.check(place, line)
        if size < len(lines):
            one.take(lines[size])
    unread = [p for p, size in enumerate(sizes) if not isinstance(size, int) or not 0 <= size <= len(lines)]
    return tree_hash(one.leaves).hex(), one.bad_entries, sorted({*one.bad_checkpoints, *unread})


if __name__ == "__main__":
    folder, document = Path(sys.argv[1]), Path(sys.argv[2])
    texts = [(folder / name).read_bytes().splitlines(keepends=True) for name in ("entries.jsonl", "checkpoints.jsonl")]
    root, entries, checkpoints = verify(texts[0], texts[1], json.loads(document.read_bytes()))
    sys.stdout.write(f"root {root}; bad entries {entries}; bad checkpoints {checkpoints}\n")
    sys.exit(1 if entries or checkpoints else 0)
