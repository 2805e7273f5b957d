"""Unique token sequences in groups of similar length, so that little padding is computed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pharmonia.chem.proteins import TokenMatrix

GROUP_POSITIONS = 8_000  # per group: what stays in a core's cache through three convolutions
LENGTH_STEP = 32  # lengths are rounded up, for kernels are compiled per shape


@dataclass(frozen=True, slots=True, eq=False)
class SequenceBatch:
    """The unique sequences of a batch.

    Args:
        tokens: (n_sequences, n_positions) uint8, padded with 0 at the end.
        lengths: (n_sequences,) int64, tokens before the padding.
    """

    tokens: TokenMatrix
    lengths: npt.NDArray[np.int64]

    def groups(self, field: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Sequences of similar length: which ones, and their first tokens as (n, length) int64.

        Each sequence keeps so much of its padding that a window of `field` tokens that is padding alone remains,
        if the whole has one; all such windows are equal, so a maximum over windows is that over the whole.
        """
        n_sequences, n_positions = self.tokens.shape
        order = np.argsort(self.lengths, kind="stable")
        size = max(1, GROUP_POSITIONS // n_positions)
        for start in range(0, n_sequences, size):
            rows = order[start : start + size]
            needed = int(self.lengths[rows[-1]]) + field
            length = min(n_positions, -(-needed // LENGTH_STEP) * LENGTH_STEP)
            yield torch.from_numpy(rows), torch.from_numpy(self.tokens[rows, :length].astype(np.int64))


class SequenceIndex:
    """Unique sequences prepared for batching: their lengths."""

    def __init__(self, tokens: TokenMatrix) -> None:
        self._tokens = tokens
        self._lengths = (tokens != 0).sum(axis=1)

    def batch(self, sequences: npt.NDArray[np.integer]) -> SequenceBatch:
        """The batch of these unique sequences."""
        return SequenceBatch(self._tokens[sequences], self._lengths[sequences])
