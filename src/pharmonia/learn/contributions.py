"""What a partner contributes to a sum, in the clear, and what the coordinator reads off the sum.

A contribution is a weight and a vector; a sum gives the mean of the vectors under the weights and the total weight.
Totals travel in the same vector divided by the weight, so that the same sum, masked or not, brings them too.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_view
from pharmonia.base.errors import UpdateError

MAX_WEIGHT = 2**24  # what fixed-point sums carry
Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contribution:
    """A partner's part of one sum, in the clear.

    Leaves the partner as it is only in plain runs; else `run.protection` masks it.

    Args:
        weight: 1 to 2^24; private in secure runs.
        values: (length,) float32; not copied.

    Raises:
        UpdateError: A weight out of range, or a value that is not finite.
    """

    weight: int
    values: Values

    def __post_init__(self) -> None:
        if not 1 <= self.weight <= MAX_WEIGHT:
            raise UpdateError(f"a weight must be 1 to {MAX_WEIGHT}")
        if self.values.ndim != 1 or self.values.dtype != np.float32:
            raise UpdateError(f"expected a vector of float32, got {self.values.dtype} of shape {self.values.shape}")
        if not np.isfinite(self.values).all():
            raise UpdateError("the update is not finite; training diverged, lower the learning rate")
        object.__setattr__(self, "values", frozen_view(self.values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over rows, of one partner or of all.

    Raises:
        UpdateError: Not finite, or below zero.
    """

    train_error: float = 0.0  # squared errors while training
    train_rows: float = 0.0
    valid_error: float = 0.0  # squared errors of the broadcast model
    valid_rows: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and value >= 0 for value in astuple(self)):
            raise UpdateError(f"totals must be finite and not negative, got {self}; lower the learning rate")


TOTAL_NAMES = tuple(f"total.{field.name}" for field in fields(Totals))
N_TOTALS = len(TOTAL_NAMES)


def pack(change: Vector, totals: Totals, weight: int) -> Contribution:
    """The contribution that carries a change of the shared vector and totals.

    Args:
        change: (n_shared,) float64; empty when nothing was trained.
        totals: Of this partner.
        weight: Of the change; the totals do not depend on it.
    """
    scaled = np.array(astuple(totals)) / weight
    return Contribution(weight=weight, values=np.concatenate([change, scaled], dtype=np.float32))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aggregate:
    """What a sum over the partners tells.

    Args:
        change: (n_shared,) float64, mean under the weights; empty when nothing was trained.
        total_weight: Sum of the weights.
        totals: Over all partners.
    """

    change: Vector
    total_weight: int
    totals: Totals


def unpack(mean: Vector, total_weight: int) -> Aggregate:
    """The reverse of `pack`, for the weighted mean of contributions.

    Raises:
        UpdateError: Totals that no partners have.
    """
    totals = np.maximum(mean[-N_TOTALS:], 0.0) * total_weight  # rounding may leave -0.0
    return Aggregate(change=mean[:-N_TOTALS], total_weight=total_weight, totals=Totals(**_named(totals.tolist())))


def _named(values: Sequence[float]) -> dict[str, float]:
    return {field.name: value for field, value in zip(fields(Totals), values, strict=True)}


def federated_average(contributions: Sequence[Contribution]) -> Vector:
    """Average contributions by their weights.

    McMahan et al. 2017, Algorithm 1 (arXiv:1602.05629): sum_k (n_k / n) * delta_k.

    Args:
        contributions: At least one, all of the same length.

    Returns:
        (length,) float64.

    Raises:
        UpdateError: No contributions, or of several lengths.
    """
    lengths = {contribution.values.size for contribution in contributions}
    if len(lengths) != 1:
        raise UpdateError(f"expected contributions of one length, got {sorted(lengths)}")
    total = np.zeros(lengths.pop())
    for contribution in contributions:
        total += np.multiply(contribution.values, float(contribution.weight), dtype=np.float64)
    return total / sum(contribution.weight for contribution in contributions)
