"""Merkle tree hashing of RFC 9162, section 2.1 (doi:10.17487/RFC9162), with SHA-256.

A tree of n leaves is a row of complete subtrees, its peaks, largest first: one per bit of n. A `Frontier` holds
those and nothing else, so a stream of any length is hashed in bounded memory. A proof is read from the hashes of
complete subtrees, which a store keeps in the order in which they are completed (`stored_index`).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pharmonia.base.errors import ProofError

HASH_BYTES = 32
MAX_LEAVES = 2**48
EMPTY_ROOT = hashlib.sha256(b"").digest()

Nodes = Callable[[int, int], bytes]  # (level, index) -> hash of the index-th complete subtree of 2^level leaves


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 | data), 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 | left | right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree as its peaks: what is needed to append a leaf and to state the root.

    Raises:
        ProofError: The peaks are not those of a tree of this size.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()  # of complete subtrees, largest first

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_LEAVES or len(self.peaks) != self.size.bit_count():
            raise ProofError(f"a tree of {self.size} leaves does not have {len(self.peaks)} peaks")

    def append(self, leaf: bytes) -> tuple["Frontier", tuple[bytes, ...]]:
        """The tree with one more leaf, and the subtrees which that completes, by level from the leaf's own."""
        peaks = list(self.peaks)
        completed = [leaf]
        for _ in range((~self.size & (self.size + 1)).bit_length() - 1):
            completed.append(node_hash(peaks.pop(), completed[-1]))
        peaks.append(completed[-1])
        return Frontier(self.size + 1, tuple(peaks)), tuple(completed)

    @property
    def root(self) -> bytes:
        """The tree's hash, 32 bytes."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


def stored_index(level: int, index: int) -> int:
    """Where a complete subtree's hash stands when hashes are kept in the order in which appends complete them."""
    last_leaf = ((index + 1) << level) - 1
    return n_stored(last_leaf) + level


def n_stored(size: int) -> int:
    """How many complete subtrees, leaves included, a tree of this size has."""
    return 2 * size - size.bit_count()


def frontier_of(size: int, nodes: Nodes) -> Frontier:
    """A tree's peaks, read from its store."""
    return Frontier(size, tuple(nodes(level, start >> level) for level, start in _complete(0, size)))


def inclusion_path(index: int, size: int, nodes: Nodes) -> tuple[bytes, ...]:
    """The siblings from a leaf up to the root: PATH(index, D[size]) of RFC 9162, 2.1.3.1.

    Raises:
        ProofError: There is no such leaf.
    """
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(middle, end, nodes))
            end = middle
        else:
            path.append(_range_hash(start, middle, nodes))
            start = middle
    return tuple(reversed(path))


def consistency_path(old: int, new: int, nodes: Nodes) -> tuple[bytes, ...]:
    """What shows that the first leaves of a tree are those of an older one: PROOF(old, D[new]) of RFC 9162, 2.1.4.1.

    Raises:
        ProofError: The old tree is empty or larger than the new one.
    """
    if not 0 < old <= new:
        raise ProofError(f"expected trees of 1 or more leaves, the old one no larger, got {old} and {new}")
    path: list[bytes] = []
    start, end = 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_hash(middle, end, nodes))
            end = middle
        else:
            path.append(_range_hash(start, middle, nodes))
            start = middle
    if start > 0:
        path.append(_range_hash(start, end, nodes))
    return tuple(reversed(path))


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a path shows that a leaf's hash stands at this index of the tree with this root: RFC 9162, 2.1.3.2."""
    if not 0 <= index < size or not _are_hashes([leaf, root, *path]):
        return False
    here, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if here & 1 or here == last:
            found = node_hash(sibling, found)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether a path shows that the new tree begins with the old one: RFC 9162, 2.1.4.2."""
    if not 0 < old <= new or not _are_hashes([old_root, new_root, *path]):
        return False
    if old == new:
        return not path and old_root == new_root
    hashes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if len(hashes) < 2:
        return False
    here, last = old - 1, new - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    found_old = found_new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            found_old, found_new = node_hash(sibling, found_old), node_hash(sibling, found_new)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found_new = node_hash(found_new, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and found_old == old_root and found_new == new_root


def _are_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


def _split(n: int) -> int:
    """The largest power of two below n."""
    return 1 << ((n - 1).bit_length() - 1)


def _complete(start: int, end: int) -> Iterator[tuple[int, int]]:
    """(level, first leaf) of the complete subtrees, largest first, of leaves that begin at a subtree's boundary."""
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start
        start += 1 << level


def _range_hash(start: int, end: int, nodes: Nodes) -> bytes:
    hashes = [nodes(level, first >> level) for level, first in _complete(start, end)]
    found = hashes.pop()
    while hashes:
        found = node_hash(hashes.pop(), found)
    return found
