"""Tree hashes and proofs: the vectors of Certificate Transparency, the definitions of RFC 9162 and attacks."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.errors import ProofError
from pharmonia.governance.merkle import (
    EMPTY_ROOT,
    Frontier,
    Nodes,
    consistency_path,
    frontier_of,
    inclusion_path,
    is_consistent,
    is_included,
    leaf_hash,
    n_stored,
    stored_index,
)

# The leaves, roots and proofs of the reference implementation of Certificate Transparency (RFC 6962).
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
N01, N23 = ROOTS[2], "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
N45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
N67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
N4567 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
L0, L1 = ROOTS[1], "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
L4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
INCLUSION = {(0, 1): [], (0, 8): [L1, N23, N4567], (5, 8): [L4, N67, ROOTS[4]], (2, 3): [N01], (1, 5): [L0, N23, L4]}
CONSISTENCY = {(1, 1): [], (1, 8): [L1, N23, N4567], (6, 8): [N45, N67, ROOTS[4]], (2, 5): [N23, L4]}


def grown(leaves: Sequence[bytes]) -> tuple[Frontier, Nodes]:
    """A tree grown leaf by leaf, and the store that its appends fill."""
    tree, stored = Frontier(), list[bytes]()
    for leaf in leaves:
        tree, completed = tree.append(leaf_hash(leaf))
        stored.extend(completed)
    assert len(stored) == n_stored(len(leaves))
    return tree, lambda level, index: stored[stored_index(level, index)]


def defined_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = max(2**i for i in range(len(leaves)) if 2**i < len(leaves))
    return hashlib.sha256(b"\x01" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


def defined_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 9162, 2.1.3.1, word for word."""
    if len(leaves) == 1:
        return []
    k = max(2**i for i in range(len(leaves)) if 2**i < len(leaves))
    if m < k:
        return [*defined_path(m, leaves[:k]), defined_root(leaves[k:])]
    return [*defined_path(m - k, leaves[k:]), defined_root(leaves[:k])]


def defined_subproof(m: int, leaves: Sequence[bytes], is_whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 9162, 2.1.4.1, word for word."""
    if m == len(leaves):
        return [] if is_whole else [defined_root(leaves)]
    k = max(2**i for i in range(len(leaves)) if 2**i < len(leaves))
    if m <= k:
        return [*defined_subproof(m, leaves[:k], is_whole), defined_root(leaves[k:])]
    return [*defined_subproof(m - k, leaves[k:], False), defined_root(leaves[:k])]


def test_roots_of_the_reference_implementation() -> None:
    assert EMPTY_ROOT.hex() == ROOTS[0]
    assert [grown(LEAVES[:n])[0].root.hex() for n in range(9)] == ROOTS


@pytest.mark.parametrize(("where", "path"), INCLUSION.items())
def test_inclusion_proofs_of_the_reference_implementation(where: tuple[int, int], path: list[str]) -> None:
    index, size = where
    ours = inclusion_path(index, size, grown(LEAVES)[1])
    assert [one.hex() for one in ours] == path
    assert is_included(leaf_hash(LEAVES[index]), index, size, ours, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("sizes", "path"), CONSISTENCY.items())
def test_consistency_proofs_of_the_reference_implementation(sizes: tuple[int, int], path: list[str]) -> None:
    old, new = sizes
    ours = consistency_path(old, new, grown(LEAVES)[1])
    assert [one.hex() for one in ours] == path
    assert is_consistent(old, new, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]), ours)


def test_every_small_tree_is_as_the_standard_defines_it() -> None:
    for size in range(1, 34):
        leaves = [bytes([i]) for i in range(size)]
        tree, nodes = grown(leaves)
        assert tree.root == defined_root(leaves)
        for m in range(size):
            path = inclusion_path(m, size, nodes)
            assert list(path) == defined_path(m, leaves)
            assert is_included(leaf_hash(leaves[m]), m, size, path, tree.root)
            old = m + 1
            path = consistency_path(old, size, nodes)
            assert list(path) == defined_subproof(old, leaves, True)
            assert is_consistent(old, size, defined_root(leaves[:old]), tree.root, path)


@given(st.integers(1, 200), st.data())
def test_a_proof_holds_for_nothing_else(size: int, data: st.DataObject) -> None:
    leaves = [i.to_bytes(2) for i in range(size)]
    tree, nodes = grown(leaves)
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, 300))
    path = list(inclusion_path(index, size, nodes))
    leaf = leaf_hash(leaves[index])
    assert frontier_of(size, nodes) == tree
    assert not is_included(leaf_hash(b"forged"), index, size, path, tree.root)
    assert not is_included(leaf, index, size, path, leaf_hash(b"another root"))
    assert not is_included(leaf, index, size, [*path, leaf], tree.root)
    if path:
        place = data.draw(st.integers(0, len(path) - 1))
        assert not is_included(leaf, index, size, path[:place] + path[place + 1 :], tree.root)
        path[place] = bytes([path[place][0] ^ 1]) + path[place][1:]
        assert not is_included(leaf, index, size, path, tree.root)
        path[place] = b"short"
        assert not is_included(leaf, index, size, path, tree.root)
    if other != index:
        assert not is_included(leaf, other, size, inclusion_path(index, size, nodes), tree.root)


@given(st.integers(2, 200), st.data())
def test_a_changed_history_is_never_consistent(size: int, data: st.DataObject) -> None:
    leaves = [i.to_bytes(2) for i in range(size)]
    tree, nodes = grown(leaves)
    old = data.draw(st.integers(1, size - 1))
    path = list(consistency_path(old, size, nodes))
    old_root = grown(leaves[:old])[0].root
    changed = data.draw(st.integers(0, old - 1))
    forged = grown([*leaves[:changed], b"forged", *leaves[changed + 1 :]])[0].root
    assert is_consistent(old, size, old_root, tree.root, path)
    assert not is_consistent(old, size, old_root, forged, path)
    assert not is_consistent(old, size, forged, tree.root, path)
    assert not is_consistent(old, size, old_root, tree.root, path[:-1])
    assert not is_consistent(old, size, old_root, tree.root, [*path, old_root])
    assert not is_consistent(old, size, old_root, tree.root, [])


def test_no_proof_is_made_of_what_is_not_there() -> None:
    _, nodes = grown(LEAVES)
    with pytest.raises(ProofError, match="no leaf 8"):
        inclusion_path(8, 8, nodes)
    with pytest.raises(ProofError, match="0 and 8"):
        consistency_path(0, 8, nodes)
    with pytest.raises(ProofError, match="9 and 8"):
        consistency_path(9, 8, nodes)
    with pytest.raises(ProofError, match="peaks"):
        Frontier(3, (EMPTY_ROOT,))
