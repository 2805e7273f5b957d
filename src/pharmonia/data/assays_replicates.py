"""Repeated results of one compound in one assay to one, all assays at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector
from pharmonia.data.assays import BELOW, EXACT, Assay, Direction, Results, Signs
from pharmonia.data.recipe_profile import PrepareProfile, ReplicateRule

Rows = npt.NDArray[np.int64]

_MAX, _MIN, _SIZE, _MEDIAN, _VOTE = range(5)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JoinedResults:
    """Results with at most one per compound and assay.

    Args:
        results: Sorted by assay, then compound.
        n_merged: Results that went into one beside its first.
        disagreeing: (n_rows,) int64, ascending positions of results whose qualifiers contradict each other.
    """

    results: Results
    n_merged: int
    disagreeing: Rows


def is_credible(results: Results, assays: Sequence[Assay], profile: PrepareProfile) -> npt.NDArray[np.bool_]:
    """(n_results,) bool: binary results are -1 or 1, others lie in the range of their assay's type."""
    rules = [profile.rules[assay.assay_type] for assay in assays]
    lowest = np.array([rule.lowest for rule in rules])[results.assay]
    highest = np.array([rule.highest for rule in rules])[results.assay]
    binary = np.array([assay.is_binary for assay in assays], dtype=bool)[results.assay]
    in_range = (results.value >= lowest) & (results.value <= highest)
    return np.where(binary, np.abs(results.value) == 1, in_range)


def join_results(results: Results, assays: Sequence[Assay], profile: PrepareProfile) -> JoinedResults:
    """One result per compound and assay, by the rule of the assay's type; the order of the rows has no influence.

    Binary: the majority, 1 in a tie. Max: the largest, those qualified "<" only where there is no other. Median: the
    median, with the majority's qualifier; "=" in a tie with it, and no result at all in a tie of "<" and ">". By
    direction: the smallest where low values are active, max where high ones are, else the largest in size. Of equal
    values, one that is exact goes before one that is a bound.

    Args:
        results: All credible results.
        assays: What `results.assay` indexes.
        profile: The rules.
    """
    key = results.assay.astype(np.int64) << 32 | results.compound
    order = np.argsort(key, kind="stable")
    key = key[order]
    is_start = np.ones(key.size, dtype=bool)
    is_start[1:] = key[1:] != key[:-1]
    is_last = np.ones(key.size, dtype=bool)
    is_last[:-1] = is_start[1:]
    alone = order[is_start & is_last]
    repeated = order[~(is_start & is_last)]
    modes = np.array([_mode(assay, profile) for assay in assays], dtype=np.int8)
    mode = modes[results.assay[repeated]]
    picked = _pick(results, repeated[mode <= _SIZE], modes)
    medians, values, qualifiers, lost = _medians(results, repeated[mode == _MEDIAN])
    votes, signs = _votes(results, repeated[mode == _VOTE])
    rows = np.concatenate([alone, picked, medians, votes])
    value, qualifier = results.value[rows], results.qualifier[rows]
    first = alone.size + picked.size
    value[first : first + medians.size], qualifier[first : first + medians.size] = values, qualifiers
    value[first + medians.size :], qualifier[first + medians.size :] = signs, EXACT
    kept = Results(compound=results.compound[rows], assay=results.assay[rows], value=value, qualifier=qualifier)
    in_order = np.lexsort((kept.compound, kept.assay))
    return JoinedResults(
        results=kept.take(in_order), n_merged=len(results) - lost.size - rows.size, disagreeing=np.sort(lost)
    )


def _mode(assay: Assay, profile: PrepareProfile) -> int:
    if assay.is_binary:
        return _VOTE
    match profile.rules[assay.assay_type].replicates:
        case ReplicateRule.MAX:
            return _MAX
        case ReplicateRule.MEDIAN:
            return _MEDIAN
        case ReplicateRule.BY_DIRECTION:
            return {Direction.LOW: _MIN, Direction.HIGH: _MAX, Direction.EITHER: _SIZE}[assay.direction]


def _pick(results: Results, rows: Rows, modes: Signs) -> Rows:
    """The best row of each group of rows."""
    compound, assay = results.compound[rows], results.assay[rows]
    value, qualifier = results.value[rows], results.qualifier[rows]
    mode = modes[assay]
    rank = np.choose(mode, [value, -value, np.abs(value)])
    eligible = (mode != _MAX) | (qualifier != BELOW)
    preference = np.choose(qualifier + 1, [0, 2, 1])  # "=", then ">", then "<"
    order = np.lexsort((value, preference, rank, eligible, compound, assay))
    return rows[order[_last_of_groups(assay[order], compound[order])]]


def _medians(results: Results, rows: Rows) -> tuple[Rows, Vector, Signs, Rows]:
    """Per group one of its rows, its median and qualifier; and the rows of groups without a qualifier."""
    assay, compound, value = results.assay[rows], results.compound[rows], results.value[rows]
    order = np.lexsort((value, compound, assay))
    rows, value = rows[order], value[order]
    last = _last_of_groups(assay[order], compound[order])
    start = np.concatenate([np.zeros(min(1, last.size), dtype=np.int64), last[:-1] + 1])
    size = last - start + 1
    median = (value[start + (size - 1) // 2] + value[start + size // 2]) / 2
    signs = results.qualifier[rows]
    counts = [np.add.reduceat(signs == sign, start, dtype=np.int64) if start.size else size for sign in (-1, 0, 1)]
    below, exact, above = counts
    most = np.maximum(np.maximum(below, above), exact)
    qualifier = np.where(exact == most, 0, np.where(above > below, 1, -1)).astype(np.int8)
    agree = (exact == most) | (below != above)
    return rows[start][agree], median[agree], qualifier[agree], rows[np.repeat(~agree, size)]


def _votes(results: Results, rows: Rows) -> tuple[Rows, Vector]:
    """Per group one of its rows and the majority of its values -1 and 1."""
    assay, compound = results.assay[rows], results.compound[rows]
    order = np.lexsort((compound, assay))
    last = _last_of_groups(assay[order], compound[order])
    total = np.diff(np.cumsum(results.value[rows[order]])[last], prepend=0.0)
    return rows[order[last]], np.where(total >= 0, 1.0, -1.0)


def _last_of_groups(assay: npt.NDArray[np.int32], compound: npt.NDArray[np.int32]) -> Rows:
    """Where, in sorted pairs, each distinct pair stands for the last time."""
    differs = (assay[1:] != assay[:-1]) | (compound[1:] != compound[:-1])
    return np.flatnonzero(np.append(differs, np.ones(min(1, assay.size), dtype=bool)))


def spread_in_folds(results: Results, fold: Signs, n_assays: int, n_folds: int) -> Vector:
    """(n_assays, n_folds) float64: the standard deviation (n - 1) of an assay's results in a fold; 0 of fewer than two.

    Args:
        results: At most one per compound and assay.
        fold: (n_compounds,) int8.
        n_assays: Number of assays.
        n_folds: Number of folds.
    """
    cell = results.assay.astype(np.int64) * n_folds + fold[results.compound]
    n_cells = n_assays * n_folds
    count = np.bincount(cell, minlength=n_cells)
    mean = np.bincount(cell, results.value, n_cells) / np.maximum(count, 1)
    squares = np.bincount(cell, (results.value - mean[cell]) ** 2, n_cells)
    return np.sqrt(squares / np.maximum(count - 1, 1)).reshape(n_assays, n_folds)
