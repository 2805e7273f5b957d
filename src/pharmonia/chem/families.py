"""Targets by family: which proteins resemble each other, from their sequences alone."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.spatial.distance import squareform

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.chem.graphs import Indices

FAMILY_K = 4  # residues per k-mer
MIN_SIMILARITY = 0.05  # of each two members of a family
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"  # the 20 that a k-mer is made of

_NONE = 255
_RESIDUE_OF_BYTE = np.full(256, _NONE, dtype=np.int64)
_RESIDUE_OF_BYTE[list(RESIDUES.encode())] = np.arange(len(RESIDUES))


def kmer_profiles(sequences: Sequence[str], k: int) -> csr_array:
    """(n_sequences, 20^k) float64: how often each k-mer stands in each sequence, each row of length 1.

    A k-mer that holds another letter than the 20 residues is not counted; a sequence without any k-mer has a row
    of zeros.

    Args:
        sequences: Cleaned sequences (`pharmonia.chem.proteins.clean_sequence`).
        k: Residues per k-mer.
    """
    found = [_kmers(sequence, k) for sequence in sequences]
    row = np.repeat(np.arange(len(found)), [kmers.size for kmers in found])
    column = np.concatenate(found)
    counts = csr_array((np.ones(row.size), (row, column)), shape=(len(found), len(RESIDUES) ** k))
    counts.sum_duplicates()
    length = np.sqrt(np.bincount(np.repeat(np.arange(len(found)), np.diff(counts.indptr)), counts.data**2, len(found)))
    counts.data /= np.repeat(length, np.diff(counts.indptr))
    return counts


def _kmers(sequence: str, k: int) -> npt.NDArray[np.int64]:
    residues = _RESIDUE_OF_BYTE[np.frombuffer(sequence.encode("latin-1", errors="replace"), dtype=np.uint8)]
    if residues.size < k:
        return np.empty(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(residues, k)
    known = windows[(windows != _NONE).all(axis=1)]
    kmers: npt.NDArray[np.int64] = known @ len(RESIDUES) ** np.arange(k)
    return kmers


def sequence_similarity(sequences: Sequence[str]) -> Vector:
    """(n_sequences, n_sequences) float64, 0 to 1: cosine of the profiles of 4-mers; 1 on the diagonal.

    A measure without alignment (Vinga and Almeida 2003, doi:10.1093/bioinformatics/btg005). Two unrelated kinases of
    KIBA have about 0.01, two of one family 0.05 to 0.7.
    """
    profiles = kmer_profiles(sequences, FAMILY_K)
    similarity: Vector = np.clip((profiles @ profiles.T).toarray(), 0.0, 1.0)
    np.fill_diagonal(similarity, 1.0)
    return similarity


@lru_cache(maxsize=4)
def family_groups(sequences: tuple[str, ...]) -> Indices:
    """(n_targets,) int32, equal for targets of one family, counted from 0 in the order of their first members.

    Complete-linkage clustering of `sequence_similarity`, cut at 0.05: each two members of a family have at least
    that, though members of two families may have it too. KIBA's 229 targets make 101 families of 1 to 8; each of 20
    kinase families that biology names (AKT, CDK, FGFR, JAK, PKC, SRC and others) stays whole, and only p38 and JNK,
    both MAP kinases, come together. Deterministic, without external data; takes memory with the square of the number
    of targets. Remembered for the last four data sets.

    Args:
        sequences: One per unique target, cleaned.
    """
    if len(sequences) == 1:
        return frozen_copy(np.zeros(1, dtype=np.int32))
    distance = 1.0 - sequence_similarity(sequences)
    tree = linkage(squareform(distance, checks=False), method="complete")
    label = fcluster(tree, 1.0 - MIN_SIMILARITY, criterion="distance")
    _, first, group = np.unique(label, return_index=True, return_inverse=True)
    return frozen_copy(first.argsort().argsort()[group].astype(np.int32))
