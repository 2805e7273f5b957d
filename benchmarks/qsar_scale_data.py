"""Drawn compounds in series and results that depend on their bits, for any number of compounds in bounded memory."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from pharmonia.chem.ecfp_matrix import CsrMatrix
from pharmonia.data.assays import Assay, AssayType, Results

N_ASSAYS = 300
BLOCK = 50_000  # compounds drawn at a time
SERIES_SIZE = 4  # compounds that share a scaffold, in the mean
N_SERIES, N_OWN, KEEP = 44, 30, 0.9  # columns drawn for a series and for a compound; share of the former it keeps
N_FACTORS = 8  # of activity
NOISE = 0.6
LOWEST_SEEN = 4.5  # the strongest dose was not enough: below it, a result is "<4.5"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Compounds with results, before anything is prepared.

    Args:
        columns: A row per compound; common bits have small numbers.
        series: (n_compounds,) int64, the compound's scaffold.
        results: Of `assays()`.
    """

    columns: CsrMatrix
    series: npt.NDArray[np.int64]
    results: Results


def assays() -> list[Assay]:
    """Dose-response assays and ADME assays in turn, whose four and three tasks come to 1,050."""
    kinds = (AssayType.OTHER, AssayType.ADME)
    return [Assay(assay_id=f"assay {number}", assay_type=kinds[number % 2]) for number in range(N_ASSAYS)]


def draw(rng: np.random.Generator, n: int, n_columns: int, results_per_compound: float) -> Drawn:
    """N compounds; assays differ in size by a factor of about 16.

    A bit's frequency falls with its rank r as (r + 20)^-1.1. A compound has most of the bits of its series and some of
    its own, about 65. A result is the product of the assay's and the compound's factors, which are sums over its bits,
    plus noise, around 6.
    """
    common = np.arange(20, n_columns + 20) ** -1.1
    cumulative = np.cumsum(common / common.sum())
    meaning = rng.normal(size=(n_columns, N_FACTORS)).astype(np.float32)
    parts, lengths, factors, series = [], [np.zeros(1, dtype=np.int64)], [], []
    for first in range(0, n, BLOCK):
        rows = min(BLOCK, n - first)
        n_series = -(-rows // SERIES_SIZE)
        member = np.sort(rng.integers(0, n_series, rows))
        codes = _draw_codes(rng, member, n_series, cumulative)
        parts.append((codes % n_columns).astype(np.int32))
        lengths.append(np.bincount(codes // n_columns, minlength=rows))
        ends = np.concatenate(([0], np.cumsum(lengths[-1])))
        ones = np.ones(codes.size, dtype=np.float32)
        factors.append(sparse.csr_array((ones, parts[-1], ends), shape=(rows, n_columns)) @ meaning)
        series.append(member + first)
    factor = np.concatenate(factors)
    factor = (factor - factor.mean(axis=0)) / factor.std(axis=0)
    indptr = np.cumsum(np.concatenate(lengths))
    return Drawn(
        columns=CsrMatrix(indptr=indptr, indices=np.concatenate(parts), n_columns=n_columns),
        series=np.concatenate(series),
        results=_draw_results(rng, factor, round(n * results_per_compound)),
    )


def _draw_codes(
    rng: np.random.Generator, member: npt.NDArray[np.int64], n_series: int, cumulative: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Row times number of columns plus column, of every bit of compounds whose series are given, ascending."""
    of_series = np.searchsorted(cumulative, rng.random((n_series, N_SERIES)))
    shared = of_series[member]
    row, place = np.nonzero(rng.random(shared.shape) < KEEP)
    own = np.searchsorted(cumulative, rng.random(member.size * N_OWN))
    n_columns = cumulative.size
    columns = np.minimum(np.concatenate([shared[row, place], own]), n_columns - 1)
    rows = np.concatenate([row, np.repeat(np.arange(member.size), N_OWN)])
    return np.unique(rows * n_columns + columns)


def _draw_results(rng: np.random.Generator, factor: npt.NDArray[np.float32], n_results: int) -> Results:
    size = 1 / (np.arange(N_ASSAYS) + 20.0)
    which = np.searchsorted(np.cumsum(size / size.sum()), rng.random(n_results))
    assay = np.minimum(which, N_ASSAYS - 1).astype(np.int32)
    compound = rng.integers(0, len(factor), n_results, dtype=np.int32)
    loading = rng.normal(size=(N_ASSAYS, N_FACTORS)).astype(np.float32)
    loading /= np.linalg.norm(loading, axis=1, keepdims=True)
    value = rng.normal(6.0, NOISE, n_results)
    for number in range(N_FACTORS):
        value += factor[compound, number] * loading[assay, number]
    value = value.round(2)
    below = value < LOWEST_SEEN
    return Results(
        compound=compound,
        assay=assay,
        value=np.where(below, LOWEST_SEEN, value),
        qualifier=np.where(below, -1, 0).astype(np.int8),
    )
