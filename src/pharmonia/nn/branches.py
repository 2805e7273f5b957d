"""What encodes one side of a batch of pairs: the compounds or the targets."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from pharmonia.nn.batches import InteractionBatch

N_ENTITY = 128  # width of a compound's and of a target's encoding in GraphDTA
DROPOUT = 0.2  # GraphDTA's rate


class CompoundBranch(nn.Module, ABC):
    """Encodes the compounds of a batch in `n_out` numbers each."""

    n_out: int

    @abstractmethod
    def per_compound(self, batch: InteractionBatch) -> Tensor:
        """(n_compounds, n_out) of the unique compounds, in evaluation mode."""

    @abstractmethod
    def per_row(self, batch: InteractionBatch) -> Tensor:
        """(n_rows, n_out) of each row's compound, in training mode: every row has dropout of its own."""


class TargetBranch(nn.Module, ABC):
    """Encodes the targets of a batch in `n_out` numbers each; has no dropout."""

    n_out: int

    @abstractmethod
    def per_target(self, batch: InteractionBatch) -> Tensor:
        """(n_targets, n_out) of the unique targets."""
