"""A network over batches of pairs: a branch per side, each unique compound and target encoded once, and a head."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pharmonia.base.errors import UpdateError
from pharmonia.nn.batches import EntityIndex, InteractionBatch
from pharmonia.nn.branches import DROPOUT, CompoundBranch, TargetBranch
from pharmonia.nn.choices import Norm
from pharmonia.nn.dropout import dropout
from pharmonia.nn.gin import GinBranch
from pharmonia.nn.matmul import linear
from pharmonia.nn.norms import NORMS
from pharmonia.nn.protein import ProteinBranch

__all__ = ["EntityIndex", "GinInteraction", "InteractionBatch", "InteractionModel"]

N_DROPPED = 2  # hidden layers of a head that dropout follows
SCORING_ROWS = 512  # what stays in a core's cache


class InteractionModel(nn.Module):
    """Predicts the affinity of pairs: branches for compounds and targets, and a head of linear maps with ReLU.

    Equal to the plain formulation on expanded batches, in training mode with the same random state too;
    parameters carry its names, except that those of a branch stand under `compound_branch` or `target_branch`.

    Attributes:
        out: The last linear map; its bias may be set to the mean value.
    """

    def __init__(
        self,
        compounds: CompoundBranch | None,
        targets: TargetBranch | None,
        hidden: Sequence[int],
        rate: float = DROPOUT,
    ) -> None:
        """At least one branch; the widths of the head's hidden layers and the dropout after the first two of them."""
        super().__init__()
        self.compound_branch = compounds
        self.target_branch = targets
        self._rate = rate
        self._n_hidden = len(hidden)
        n_in = sum(branch.n_out for branch in (compounds, targets) if branch is not None)
        for layer, width in enumerate(hidden, start=1):
            self.add_module(f"fc{layer}", nn.Linear(n_in, width))
            n_in = width
        self.out = nn.Linear(n_in, 1)

    @property
    def head_names(self) -> frozenset[str]:
        """Names in the state of the head's tensors: all that is in no branch."""
        return frozenset(name for name in self.state_dict() if "_branch." not in name)

    @property
    def norm_names(self) -> frozenset[str]:
        """Names in the state of all tensors of normalisations, running statistics and counters included."""
        norms = [name for name, module in self.named_modules() if isinstance(module, NORMS)]
        return frozenset(name for name in self.state_dict() if name.rpartition(".")[0] in norms)

    def plain_state(self) -> dict[str, Tensor]:
        """Parameters and buffers under the names of the plain formulation (for GraphDTA, published checkpoints)."""
        return {name.split("branch.")[-1]: tensor for name, tensor in self.state_dict().items()}

    def load_plain_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the parameters and buffers of the plain formulation.

        Raises:
            UpdateError: A name or shape does not fit, or a GIN layer has an eps other than 0.
        """
        if any(name.endswith(".eps") and bool((tensor != 0).any()) for name, tensor in state.items()):
            raise UpdateError("a GIN layer of the given state has an eps other than 0; this network has eps = 0")
        own_names = {name.split("branch.")[-1]: name for name in self.state_dict()}
        given = {own_names.get(name, name): tensor for name, tensor in state.items() if not name.endswith(".eps")}
        try:
            self.load_state_dict(given)
        except RuntimeError as error:
            raise UpdateError(f"the state does not fit this network: {error}") from error

    def forward(self, batch: InteractionBatch) -> Tensor:
        """(n_rows,) predicted affinity."""
        if not self.training:
            return self.score(batch)
        of_compound, of_target = self._halves()
        parts = []
        if self.compound_branch is not None:
            bias = self._first.bias if self.target_branch is None else None
            parts.append(linear(self.compound_branch.per_row(batch), of_compound, bias))
        if self.target_branch is not None:
            from_targets = linear(self.target_branch.per_target(batch), of_target, self._first.bias)
            parts.append(from_targets.index_select(0, batch.target_of_row))
        return self._finish(_total(parts))

    def score(self, batch: InteractionBatch, chunk_rows: int = SCORING_ROWS) -> Tensor:
        """(n_rows,) predictions in evaluation mode, for any number of rows.

        Without dropout both halves of the head's first layer run once per unique entity, in training only the
        target's; the rest of the head runs in chunks of rows.
        """
        of_compound, of_target = self._halves()
        parts = []
        if self.compound_branch is not None:
            bias = self._first.bias if self.target_branch is None else None
            from_compounds = linear(self.compound_branch.per_compound(batch), of_compound, bias)
            parts.append(_chunks(from_compounds, batch.compound_of_row, chunk_rows))
        if self.target_branch is not None:
            from_targets = linear(self.target_branch.per_target(batch), of_target, self._first.bias)
            parts.append(_chunks(from_targets, batch.target_of_row, chunk_rows))
        return torch.cat([self._finish(_total(chunk)) for chunk in zip(*parts, strict=True)])

    @property
    def _first(self) -> nn.Linear:
        return cast(nn.Linear, self.fc1)

    def _halves(self) -> tuple[Tensor, Tensor]:
        """The head's first weights, split into those for compounds and those for targets."""
        n_compound = 0 if self.compound_branch is None else self.compound_branch.n_out
        return self._first.weight[:, :n_compound], self._first.weight[:, n_compound:]

    def _finish(self, hidden: Tensor) -> Tensor:
        """(n_rows,) from the sums of the head's first layer."""
        hidden = hidden.relu_()
        for layer in range(1, self._n_hidden + 1):
            if layer > 1:
                fc = cast(nn.Linear, self.get_submodule(f"fc{layer}"))
                hidden = linear(hidden, fc.weight, fc.bias).relu_()
            if layer <= N_DROPPED:
                hidden = dropout(hidden, self._rate, training=self.training)
        return linear(hidden, self.out.weight, self.out.bias).squeeze(1)


def _total(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _chunks(table: Tensor, row_of: Tensor, chunk_rows: int) -> Iterator[Tensor]:
    """The given rows of a table, some at a time."""
    for rows in torch.split(row_of, chunk_rows):
        yield table.index_select(0, rows)


class GinInteraction(InteractionModel):
    """GraphDTA's GINConvNet: graph isomorphism network, protein convolution, head 256-1024-256-1.

    Nguyen et al. 2021 (doi:10.1093/bioinformatics/btaa921).
    """

    def __init__(self, norm: Norm) -> None:
        super().__init__(GinBranch(norm), ProteinBranch(), (1024, 256))
