"""Unique targets as positions grouped by token, for GraphDTA's protein convolution."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pharmonia.chem.graphs import ranges
from pharmonia.chem.proteins import N_POSITIONS, TokenMatrix
from pharmonia.nn.bags import Bags


@dataclass(frozen=True, slots=True, eq=False)
class TargetBatch:
    """The unique targets of a batch.

    Args:
        tokens: (n_tokens,) int64, the tokens in use, 0 (padding) first.
        bags: One bag per (target, token in use): the positions that hold the token. Row 1,000 + l of the summed
            table stands for all positions from l on, which padding occupies.
    """

    tokens: Tensor
    bags: Bags


class TargetIndex:
    """Unique targets prepared for batching: positions grouped by token."""

    def __init__(self, tokens: TokenMatrix) -> None:
        self._used = np.union1d([0], np.unique(tokens)).astype(np.int64)
        n_targets, n_used = tokens.shape[0], self._used.size
        lengths = (tokens != 0).sum(axis=1)
        order = np.argsort(tokens, axis=1, kind="stable")
        counts = np.zeros((n_targets, n_used), dtype=np.int64)
        for column, token in enumerate(self._used):
            counts[:, column] = (tokens == token).sum(axis=1)
        counts[:, 0] = 1  # all padding is one row of the summed table
        in_use = np.arange(N_POSITIONS) >= (N_POSITIONS - lengths)[:, None]
        members = [
            np.concatenate(([N_POSITIONS + length], row[use]))
            for length, row, use in zip(lengths, order, in_use, strict=True)
        ]
        self._members = np.concatenate(members).astype(np.int32) if members else np.zeros(0, dtype=np.int32)
        self._bag_offsets = np.concatenate(([0], np.cumsum(counts.reshape(-1)))).astype(np.int64)

    def batch(self, targets: npt.NDArray[np.integer]) -> TargetBatch:
        """The batch of these unique targets."""
        n_used = self._used.size
        bag_rows = (targets[:, None].astype(np.int64) * n_used + np.arange(n_used)).reshape(-1)
        flat, offsets = ranges(self._bag_offsets, bag_rows)
        bags = Bags.build(self._members[flat], offsets, 2 * N_POSITIONS + 1)
        return TargetBatch(tokens=torch.from_numpy(self._used), bags=bags)
