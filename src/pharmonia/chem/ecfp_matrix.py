"""Sparse matrices of fingerprints, and their columns permuted under a key; needs no RDKit."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_view
from pharmonia.base.errors import CompoundError, OptionError
from pharmonia.chem.keyed import PreparationKey

Columns = npt.NDArray[np.int32]
Codes = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class EcfpSettings:
    """How compounds become columns.

    Args:
        radius: Bonds around each atom; 3 is ECFP6.
        n_bits: Number of columns.

    Raises:
        OptionError: A radius below 0, or a number of bits not in 16 to 2^31 - 1.
    """

    radius: int = 3
    n_bits: int = 32_000

    def __post_init__(self) -> None:
        if not (self.radius >= 0 and 16 <= self.n_bits < 2**31):
            raise OptionError(f"radius {self.radius} and {self.n_bits} bits do not make fingerprints")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CsrMatrix:
    """A sparse matrix of ones: per row the columns that are set.

    Args:
        indptr: (n_rows + 1,) int64; row i is indices[indptr[i]:indptr[i + 1]].
        indices: (n_set,) int32, ascending within a row, each once.
        n_columns: Number of columns.

    Raises:
        CompoundError: The arrays do not describe such a matrix.
    """

    indptr: npt.NDArray[np.int64]
    indices: Columns
    n_columns: int

    def __post_init__(self) -> None:
        types_fit = self.indptr.dtype == np.int64 and self.indices.dtype == np.int32
        if not (types_fit and self.indptr.ndim == self.indices.ndim == 1 and self.indptr.size):
            raise CompoundError("a sparse matrix needs (n_rows + 1,) int64 offsets and (n_set,) int32 columns")
        lengths = np.diff(self.indptr)
        if self.indptr[0] != 0 or self.indptr[-1] != self.indices.size or (lengths < 0).any():
            raise CompoundError("the offsets of a sparse matrix do not fit its columns")
        if self.indices.size and not (self.indices.min() >= 0 and self.indices.max() < self.n_columns):
            raise CompoundError(f"a sparse matrix of {self.n_columns} columns names a column that it does not have")
        rises = np.ones(self.indices.size + 1, dtype=bool)
        rises[1:-1] = np.diff(self.indices) > 0
        rises[self.indptr] = True  # the first column of a row
        if not rises.all():
            raise CompoundError("the columns of a sparse row are not ascending, or one is twice there")
        for name in ("indptr", "indices"):
            object.__setattr__(self, name, frozen_view(getattr(self, name)))

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.indptr.size - 1

    def row(self, index: int) -> Columns:
        """The columns set in one row."""
        return self.indices[self.indptr[index] : self.indptr[index + 1]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EnvironmentRows:
    """Per row the codes of a compound's environments: what columns are before they are folded.

    Args:
        indptr: (n_rows + 1,) int64; row i is codes[indptr[i]:indptr[i + 1]].
        codes: (n_set,) uint32, each once within a row.

    Raises:
        CompoundError: The arrays do not describe such rows.
    """

    indptr: npt.NDArray[np.int64]
    codes: Codes

    def __post_init__(self) -> None:
        types_fit = self.indptr.dtype == np.int64 and self.codes.dtype == np.uint32
        if not (types_fit and self.indptr.ndim == self.codes.ndim == 1 and self.indptr.size):
            raise CompoundError("rows of environments need (n_rows + 1,) int64 offsets and (n_set,) uint32 codes")
        if self.indptr[0] != 0 or self.indptr[-1] != self.codes.size or (np.diff(self.indptr) < 0).any():
            raise CompoundError("the offsets of rows of environments do not fit their codes")
        for name in ("indptr", "codes"):
            object.__setattr__(self, name, frozen_view(getattr(self, name)))

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.indptr.size - 1

    def folded(self, n_columns: int) -> CsrMatrix:
        """The matrix of columns that the codes become: their remainders, as RDKit folds a fingerprint."""
        row = np.repeat(np.arange(self.n_rows, dtype=np.int64), np.diff(self.indptr))
        places = np.sort(row * n_columns + self.codes % np.uint32(n_columns))  # np.unique takes six times as long
        places = places[np.concatenate((np.ones(min(1, places.size), dtype=np.bool_), np.diff(places) > 0))]
        row, column = np.divmod(places, n_columns)
        indptr = np.zeros(self.n_rows + 1, dtype=np.int64)
        np.cumsum(np.bincount(row, minlength=self.n_rows), out=indptr[1:])
        return CsrMatrix(indptr=indptr, indices=column.astype(np.int32), n_columns=n_columns)

    def keyed(self, key: PreparationKey) -> "EnvironmentRows":
        """The same rows with each code as `PreparationKey.environments` has it."""
        distinct, place = np.unique(self.codes, return_inverse=True)
        return EnvironmentRows(indptr=self.indptr, codes=key.environments(distinct)[place])


def stack_rows(rows: Iterable[Columns], n_columns: int) -> CsrMatrix:
    """The matrix of these rows."""
    parts = list(rows)
    indptr = np.zeros(len(parts) + 1, dtype=np.int64)
    np.cumsum([part.size for part in parts], out=indptr[1:])
    indices = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)
    return CsrMatrix(indptr=indptr, indices=indices.astype(np.int32, copy=False), n_columns=n_columns)


def permute_columns(matrix: CsrMatrix, key: PreparationKey) -> CsrMatrix:
    """The matrix with its columns where the key puts them, ascending within each row."""
    place = key.permutation(matrix.n_columns)
    row = np.repeat(np.arange(matrix.n_rows, dtype=np.int64), np.diff(matrix.indptr))
    codes = row * matrix.n_columns + place[matrix.indices]
    codes.sort()
    np.remainder(codes, matrix.n_columns, out=codes)
    return CsrMatrix(indptr=matrix.indptr, indices=codes.astype(np.int32), n_columns=matrix.n_columns)
