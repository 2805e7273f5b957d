"""Target branch of GraphDTA: a convolution over 26 tokens, computed as sums of its weights by token."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pharmonia.chem.graphs import ranges
from pharmonia.chem.proteins import N_POSITIONS, N_TOKENS, TokenMatrix
from pharmonia.nn.bags import Bags, bag_sum
from pharmonia.nn.matmul import linear

N_EMBEDDING = 128
N_FILTERS = 32
KERNEL = 8
N_OUT_POSITIONS = N_EMBEDDING - KERNEL + 1
_BLOCK = 32


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


class TargetBranch(nn.Module):
    """Embedding 128, Conv1d with the 1,000 positions as channels (32 filters, width 8), Linear.

    Nguyen et al. 2021 (GraphDTA), model GINConvNet; parameters carry its names. With A[u, v, k, o] the sum of
    conv weights W[o, c, k] over positions c where target u has token v, and E the embedding,
    conv(u)[o, j] = b[o] + sum over v, k of A[u, v, k, o] E[v, j + k]. No nonlinearity stands between the convolution
    and the linear map F, so E and F are multiplied first: G[v, k, o, h] = sum over j of E[v, j + k] F[h, o, j].
    """

    def __init__(self, n_out: int) -> None:
        super().__init__()
        self.embedding_xt = nn.Embedding(N_TOKENS, N_EMBEDDING)
        self.conv_xt_1 = nn.Conv1d(N_POSITIONS, N_FILTERS, KERNEL)
        self.fc1_xt = nn.Linear(N_FILTERS * N_OUT_POSITIONS, n_out)

    def forward(self, batch: TargetBatch) -> Tensor:
        """(n_targets, n_out)."""
        n_tokens, n_out = batch.tokens.numel(), self.fc1_xt.out_features
        weights = self.conv_xt_1.weight.permute(1, 2, 0).reshape(N_POSITIONS, KERNEL * N_FILTERS)
        sums = bag_sum(torch.cat((weights, _tails(weights))), batch.bags).view(-1, n_tokens * KERNEL * N_FILTERS)
        windows = self.embedding_xt.weight[batch.tokens].unfold(1, KERNEL, 1)  # (n_tokens, 121, 8)
        windows = windows.transpose(1, 2).reshape(n_tokens * KERNEL, N_OUT_POSITIONS)
        last = self.fc1_xt.weight.view(n_out, N_FILTERS, N_OUT_POSITIONS)
        by_filter = last.transpose(0, 1).reshape(N_FILTERS * n_out, N_OUT_POSITIONS)
        of_token = linear(windows, by_filter).view(n_tokens * KERNEL * N_FILTERS, n_out)
        bias = self.fc1_xt.bias + last.sum(dim=2) @ cast(Tensor, self.conv_xt_1.bias)
        return linear(sums, of_token.t(), bias)


def _tails(rows: Tensor) -> Tensor:
    """(n_rows + 1, width): for l = 0..n_rows the sum of the rows from l on, summed in blocks of 32."""
    n_rows, width = rows.shape
    n_blocks = n_rows // _BLOCK + 1
    blocks = F.pad(rows, (0, 0, 0, n_blocks * _BLOCK - n_rows)).view(n_blocks, _BLOCK, width)
    within = torch.ones(_BLOCK, _BLOCK, dtype=rows.dtype).triu() @ blocks
    later = torch.ones(n_blocks, n_blocks, dtype=rows.dtype).triu(1) @ blocks.sum(dim=1)
    return (within + later[:, None]).view(-1, width)[: n_rows + 1]
