"""From partners' updates to one change of the shared parameters."""

from collections.abc import Sequence

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import UpdateError
from pharmonia.learn.messages import Statistics, Update, ValidationScore


def federated_average(updates: Sequence[Update]) -> Vector:
    """Average updates weighted by example count.

    McMahan et al. 2017, Algorithm 1 (arXiv:1602.05629): sum_k (n_k / n) * delta_k.

    Args:
        updates: At least one, all from the same round and of the same length.

    Returns:
        (n_params,) float64.

    Raises:
        UpdateError: No updates, or updates that do not belong together.
    """
    groups = {(u.round_index, u.delta.size) for u in updates}
    if len(groups) != 1:
        raise UpdateError(f"expected updates of one round and length, got {sorted(groups)}")
    weights = np.array([u.n_examples for u in updates], dtype=np.float64)
    return np.average([u.delta for u in updates], axis=0, weights=weights)


def pooled_mean(statistics: Sequence[Statistics]) -> float:
    """Mean of the training values over all partners, from their sums.

    Raises:
        UpdateError: No statistics.
    """
    if not statistics:
        raise UpdateError("expected statistics of at least one partner")
    return sum(s.value_sum for s in statistics) / sum(s.n_train for s in statistics)


def pooled_error(scores: Sequence[ValidationScore]) -> float:
    """Mean squared error over all partners' validation rows, from their sums.

    Raises:
        UpdateError: No scores.
    """
    if not scores:
        raise UpdateError("expected validation scores of at least one partner")
    return sum(s.squared_error for s in scores) / sum(s.n_rows for s in scores)
