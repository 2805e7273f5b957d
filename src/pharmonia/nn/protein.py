"""Target branch of GraphDTA: a convolution over 26 tokens, computed as sums of its weights by token."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pharmonia.chem.proteins import N_POSITIONS, N_TOKENS
from pharmonia.nn.bags import bag_sum
from pharmonia.nn.batches import InteractionBatch
from pharmonia.nn.branches import N_ENTITY, TargetBranch
from pharmonia.nn.matmul import linear
from pharmonia.nn.targets import TargetBatch

N_EMBEDDING = 128
N_FILTERS = 32
KERNEL = 8
N_OUT_POSITIONS = N_EMBEDDING - KERNEL + 1
_BLOCK = 32


class ProteinBranch(TargetBranch):
    """Embedding 128, Conv1d with the 1,000 positions as channels (32 filters, width 8), Linear.

    Nguyen et al. 2021 (GraphDTA), models GINConvNet, GCNNet and GAT_GCN; parameters carry its names. With
    A[u, v, k, o] the sum of conv weights W[o, c, k] over positions c where target u has token v, and E the embedding,
    conv(u)[o, j] = b[o] + sum over v, k of A[u, v, k, o] E[v, j + k]. No nonlinearity stands between the convolution
    and the linear map F, so E and F are multiplied first: G[v, k, o, h] = sum over j of E[v, j + k] F[h, o, j].
    """

    n_out = N_ENTITY

    def __init__(self) -> None:
        super().__init__()
        self.embedding_xt = nn.Embedding(N_TOKENS, N_EMBEDDING)
        self.conv_xt_1 = nn.Conv1d(N_POSITIONS, N_FILTERS, KERNEL)
        self.fc1_xt = nn.Linear(N_FILTERS * N_OUT_POSITIONS, N_ENTITY)

    def per_target(self, batch: InteractionBatch) -> Tensor:
        """(n_targets, 128)."""
        targets = batch.targets
        n_tokens = targets.tokens.numel()
        sums = _sums_by_token(self.conv_xt_1.weight, targets)
        windows = _windows(self.embedding_xt.weight, targets)
        last = self.fc1_xt.weight.view(N_ENTITY, N_FILTERS, N_OUT_POSITIONS)
        by_filter = last.transpose(0, 1).reshape(N_FILTERS * N_ENTITY, N_OUT_POSITIONS)
        of_token = linear(windows, by_filter).view(n_tokens * KERNEL * N_FILTERS, N_ENTITY)
        bias = self.fc1_xt.bias + last.sum(dim=2) @ cast(Tensor, self.conv_xt_1.bias)
        return linear(sums, of_token.t(), bias)


class RectifiedProteinBranch(TargetBranch):
    """The same with a ReLU after the convolution, as GATNet has it; parameters carry GATNet's names.

    The convolution is summed by token as in `ProteinBranch`; the linear map follows on the rectified result.
    """

    n_out = N_ENTITY

    def __init__(self) -> None:
        super().__init__()
        self.embedding_xt = nn.Embedding(N_TOKENS, N_EMBEDDING)
        self.conv_xt1 = nn.Conv1d(N_POSITIONS, N_FILTERS, KERNEL)
        self.fc_xt1 = nn.Linear(N_FILTERS * N_OUT_POSITIONS, N_ENTITY)

    def per_target(self, batch: InteractionBatch) -> Tensor:
        """(n_targets, 128)."""
        targets = batch.targets
        sums = _sums_by_token(self.conv_xt1.weight, targets)
        windows = _windows(self.embedding_xt.weight, targets)
        by_position = sums.view(-1, windows.shape[0], N_FILTERS).transpose(1, 2).reshape(-1, windows.shape[0])
        convolved = linear(by_position, windows.t()).view(-1, N_FILTERS, N_OUT_POSITIONS)
        rectified = torch.relu(convolved + cast(Tensor, self.conv_xt1.bias)[:, None])
        return linear(rectified.view(-1, N_FILTERS * N_OUT_POSITIONS), self.fc_xt1.weight, self.fc_xt1.bias)


def _sums_by_token(weight: Tensor, targets: TargetBatch) -> Tensor:
    """(n_targets, n_tokens * 8 * 32): A of `ProteinBranch`, from the convolution's (32, 1000, 8) weight."""
    weights = weight.permute(1, 2, 0).reshape(N_POSITIONS, KERNEL * N_FILTERS)
    summed = bag_sum(torch.cat((weights, _tails(weights))), targets.bags)
    return summed.view(-1, targets.tokens.numel() * KERNEL * N_FILTERS)


def _windows(embedding: Tensor, targets: TargetBatch) -> Tensor:
    """(n_tokens * 8, 121): E[v, j + k] of each token v in use and offset k at each output position j."""
    windows = embedding[targets.tokens].unfold(1, KERNEL, 1)  # (n_tokens, 121, 8)
    return windows.transpose(1, 2).reshape(targets.tokens.numel() * KERNEL, N_OUT_POSITIONS)


def _tails(rows: Tensor) -> Tensor:
    """(n_rows + 1, width): for l = 0..n_rows the sum of the rows from l on, summed in blocks of 32."""
    n_rows, width = rows.shape
    n_blocks = n_rows // _BLOCK + 1
    blocks = F.pad(rows, (0, 0, 0, n_blocks * _BLOCK - n_rows)).view(n_blocks, _BLOCK, width)
    within = torch.ones(_BLOCK, _BLOCK, dtype=rows.dtype).triu() @ blocks
    later = torch.ones(n_blocks, n_blocks, dtype=rows.dtype).triu(1) @ blocks.sum(dim=1)
    return (within + later[:, None]).view(-1, width)[: n_rows + 1]
