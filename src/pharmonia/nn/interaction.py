"""GraphDTA's GIN network over batches of pairs, each unique compound and target encoded once."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pharmonia.base.errors import UpdateError
from pharmonia.chem.graphs import MolGraphs
from pharmonia.chem.proteins import TokenMatrix
from pharmonia.nn.choices import Norm
from pharmonia.nn.compounds import CompoundBatch, CompoundIndex, GinBranch
from pharmonia.nn.dropout import dropout
from pharmonia.nn.matmul import linear
from pharmonia.nn.targets import TargetBatch, TargetBranch, TargetIndex

N_ENTITY = 128  # width of a compound's and of a target's encoding
DROPOUT = 0.2
SCORING_ROWS = 512  # what stays in a core's cache


@dataclass(frozen=True, slots=True, eq=False)
class InteractionBatch:
    """A batch of pairs: its unique compounds and targets, and which of them each row pairs.

    Args:
        compounds: The unique compounds.
        targets: The unique targets.
        compound_of_row: (n_rows,) int64 into the unique compounds.
        target_of_row: (n_rows,) int64 into the unique targets.
    """

    compounds: CompoundBatch
    targets: TargetBatch
    compound_of_row: Tensor
    target_of_row: Tensor


class EntityIndex:
    """Unique compounds and targets of one owner, prepared once for any number of batches."""

    def __init__(self, graphs: MolGraphs, tokens: TokenMatrix) -> None:
        self._compounds = CompoundIndex(graphs)
        self._targets = TargetIndex(tokens)

    def batch(self, compound: npt.NDArray[np.integer], target: npt.NDArray[np.integer]) -> InteractionBatch:
        """The batch that pairs compound[i] with target[i]; both (n_rows,) integer indices."""
        compounds, compound_of_row, multiplicity = np.unique(compound, return_inverse=True, return_counts=True)
        targets, target_of_row = np.unique(target, return_inverse=True)
        return InteractionBatch(
            compounds=self._compounds.batch(compounds, multiplicity),
            targets=self._targets.batch(targets),
            compound_of_row=torch.from_numpy(compound_of_row),
            target_of_row=torch.from_numpy(target_of_row),
        )


class GinInteraction(nn.Module):
    """GraphDTA's GINConvNet: graph isomorphism network, protein convolution, head 256-1024-256-1.

    Nguyen et al. 2021 (doi:10.1093/bioinformatics/btaa921). Equal to the plain formulation on expanded
    batches, in training mode with the same random state too; parameters carry its names.
    """

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.compound_branch = GinBranch(norm, N_ENTITY)
        self.target_branch = TargetBranch(N_ENTITY)
        self.fc1 = nn.Linear(2 * N_ENTITY, 1024)
        self.fc2 = nn.Linear(1024, 256)
        self.out = nn.Linear(256, 1)

    def plain_state(self) -> dict[str, Tensor]:
        """Parameters and buffers under the names of the plain formulation (GraphDTA's published checkpoints)."""
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
        compounds = self.compound_branch(batch.compounds).index_select(0, batch.compound_of_row)
        hidden = linear(dropout(compounds, DROPOUT, training=True), of_compound)
        from_targets = linear(self.target_branch(batch.targets), of_target, self.fc1.bias)
        return self._finish(hidden + from_targets.index_select(0, batch.target_of_row))

    def score(self, batch: InteractionBatch, chunk_rows: int = SCORING_ROWS) -> Tensor:
        """(n_rows,) predictions in evaluation mode, for any number of rows.

        Without dropout both halves of the head's first layer run once per unique entity, in training only the
        target's; the rest of the head runs in chunks of rows.
        """
        of_compound, of_target = self._halves()
        from_compounds = linear(self.compound_branch(batch.compounds), of_compound)
        from_targets = linear(self.target_branch(batch.targets), of_target, self.fc1.bias)
        chunks = zip(
            torch.split(batch.compound_of_row, chunk_rows), torch.split(batch.target_of_row, chunk_rows), strict=True
        )
        return torch.cat(
            [
                self._finish(from_compounds.index_select(0, compound) + from_targets.index_select(0, target))
                for compound, target in chunks
            ]
        )

    def _halves(self) -> tuple[Tensor, Tensor]:
        """The head's first weights, split into those for compounds and those for targets."""
        return self.fc1.weight[:, :N_ENTITY], self.fc1.weight[:, N_ENTITY:]

    def _finish(self, hidden: Tensor) -> Tensor:
        """(n_rows,) from the (n_rows, 1024) sums of the head's first layer."""
        hidden = dropout(hidden.relu_(), DROPOUT, training=self.training)
        hidden = linear(hidden, self.fc2.weight, self.fc2.bias).relu_()
        hidden = dropout(hidden, DROPOUT, training=self.training)
        return linear(hidden, self.out.weight, self.out.bias).squeeze(1)
