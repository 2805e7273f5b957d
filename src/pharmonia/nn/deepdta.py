"""DeepDTA: convolutions over SMILES characters and over residues."""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pharmonia.chem.proteins import N_TOKENS
from pharmonia.chem.smiles import N_SMILES_TOKENS
from pharmonia.nn.batches import InteractionBatch
from pharmonia.nn.branches import CompoundBranch, TargetBranch
from pharmonia.nn.interaction import InteractionModel
from pharmonia.nn.sequences import SequenceBatch

N_EMBEDDING = 128
N_FILTERS = (32, 64, 96)
SMILES_KERNELS = (4, 6, 8)
RESIDUE_KERNELS = (4, 8, 12)
HEAD = (1024, 1024, 512)
RATE = 0.1  # dropout


class SmilesBranch(CompoundBranch):
    """Embedding 128, convolutions of 32, 64 and 96 filters over the SMILES's tokens with ReLU, maximum over windows.

    Has no dropout, so it runs once per unique compound in training too.
    """

    n_out = N_FILTERS[-1]

    def __init__(self) -> None:
        super().__init__()
        self.embedding_xd = nn.Embedding(N_SMILES_TOKENS, N_EMBEDDING)
        _add_convolutions(self, "conv_xd", SMILES_KERNELS)

    def per_compound(self, batch: InteractionBatch) -> Tensor:
        """(n_compounds, 96)."""
        return _encoded(batch.smiles, self.embedding_xd, _convolutions(self, "conv_xd"))

    def per_row(self, batch: InteractionBatch) -> Tensor:
        """(n_rows, 96)."""
        return self.per_compound(batch).index_select(0, batch.compound_of_row)


class ResidueBranch(TargetBranch):
    """The same over the target's residues."""

    n_out = N_FILTERS[-1]

    def __init__(self) -> None:
        super().__init__()
        self.embedding_xt = nn.Embedding(N_TOKENS, N_EMBEDDING)
        _add_convolutions(self, "conv_xt", RESIDUE_KERNELS)

    def per_target(self, batch: InteractionBatch) -> Tensor:
        """(n_targets, 96)."""
        return _encoded(batch.residues, self.embedding_xt, _convolutions(self, "conv_xt"))


class DeepDtaInteraction(InteractionModel):
    """DeepDTA: two convolutional branches, head 192-1024-1024-512-1 with dropout 0.1 after the first two layers.

    Ozturk et al. 2018 (doi:10.1093/bioinformatics/bty593). The paper leaves the kernels' widths to a search per data
    set over 4, 6, 8 for SMILES and 4, 8, 12 for residues, with one width for a branch; here they are the widths of a
    branch's three layers, as in DeepPurpose's DeepDTA (Huang et al. 2020, doi:10.1093/bioinformatics/btaa1005).
    Weights start as Keras starts them, on which the published network relied.
    """

    def __init__(self) -> None:
        super().__init__(SmilesBranch(), ResidueBranch(), HEAD, RATE)
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.uniform_(module.weight, -0.05, 0.05)
            elif isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(cast(Tensor, module.bias))
        nn.init.normal_(self.out.weight, std=0.05)


def _add_convolutions(branch: nn.Module, name: str, kernels: Sequence[int]) -> None:
    widths = (N_EMBEDDING, *N_FILTERS)
    for layer, kernel in enumerate(kernels, start=1):
        branch.add_module(f"{name}_{layer}", nn.Conv1d(widths[layer - 1], widths[layer], kernel))


def _convolutions(branch: nn.Module, name: str) -> list[nn.Conv1d]:
    return [cast(nn.Conv1d, branch.get_submodule(f"{name}_{layer}")) for layer in (1, 2, 3)]


def _encoded(sequences: SequenceBatch, embedding: nn.Embedding, convolutions: Sequence[nn.Conv1d]) -> Tensor:
    """(n_sequences, 96): the largest value of each last filter over all windows, rectified.

    The embedding E and the first weights W act as one convolution over one-hot tokens v:
    G[o, v, k] = sum over c of W[o, c, k] E[v, c]. Channels stand last in memory, positions as a picture of one row.
    """
    first, second, third = convolutions
    folded = torch.einsum("ock,vc->ovk", first.weight, embedding.weight)
    field = 1 + sum(convolution.kernel_size[0] - 1 for convolution in convolutions)
    rows, pooled = [], []
    for group, tokens in sequences.groups(field):
        rows.append(group)
        hidden = _convolved(_one_hot(tokens, embedding.num_embeddings, folded.dtype), folded, first.bias).relu_()
        hidden = _convolved(hidden, second.weight, second.bias).relu_()
        largest: Tensor = _ConvolutionMax.apply(hidden, third.weight)  # type: ignore[no-untyped-call]
        pooled.append(largest)
    back = torch.empty(len(sequences.lengths), dtype=torch.int64)
    back[torch.cat(rows)] = torch.arange(back.numel())
    return torch.relu(torch.cat(pooled).index_select(0, back) + cast(Tensor, third.bias))


def _one_hot(tokens: Tensor, n_tokens: int, dtype: torch.dtype) -> Tensor:
    """(n, n_tokens, 1, n_positions), channels last in memory."""
    n_sequences, n_positions = tokens.shape
    rows = torch.zeros(n_sequences * n_positions, n_tokens, dtype=dtype)
    rows.scatter_(1, tokens.reshape(-1, 1), 1)
    return rows.view(n_sequences, 1, n_positions, n_tokens).permute(0, 3, 1, 2)


def _convolved(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The valid convolution along the last axis of (n, n_in, 1, n_positions); weight (n_out, n_in, kernel)."""
    return F.conv2d(rows, weight.unsqueeze(2), bias)


class _ConvolutionMax(torch.autograd.Function):
    """(n, n_out): a convolution's maximum over positions, and its gradient from the windows that gave the maxima."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        largest, window = _convolved(rows, weight, None).squeeze(2).max(dim=2)
        ctx.save_for_backward(rows, weight, window)
        return largest

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        rows, weight, window = ctx.saved_tensors
        n, n_in, _, n_positions = rows.shape
        by_position = rows.permute(0, 2, 3, 1).reshape(n * n_positions, n_in)
        first = window + torch.arange(n)[:, None] * n_positions
        taken = (first[:, :, None] + torch.arange(weight.shape[2])).view(-1)  # (n * n_out * kernel,)
        windows = by_position.index_select(0, taken).view(n, weight.shape[0], weight.shape[2], n_in)
        grad = grads[0][:, :, None, None]
        for_weight = (grad * windows).sum(dim=0).transpose(1, 2)
        spread = (grad * weight.transpose(1, 2)).reshape(-1, n_in)
        for_rows = torch.zeros_like(by_position).index_add_(0, taken, spread)
        return for_rows.view(n, 1, n_positions, n_in).permute(0, 3, 1, 2), for_weight
