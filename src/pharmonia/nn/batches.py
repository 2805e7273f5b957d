"""Batches of pairs over unique compounds and targets, whose parts are made when a network asks for them."""

from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from pharmonia.base.errors import OptionError
from pharmonia.chem.graphs import MolGraphs
from pharmonia.chem.proteins import TokenMatrix
from pharmonia.nn.compounds import AtomBatch, CompoundBatch, CompoundIndex, expand_atoms
from pharmonia.nn.sequences import SequenceBatch, SequenceIndex
from pharmonia.nn.targets import TargetBatch, TargetIndex


class EntityIndex:
    """Unique compounds and targets of one owner, prepared once for any number of batches.

    Each part of the preparation is done when a network first asks for it, so nothing is computed that the network
    in use does not read.
    """

    def __init__(self, graphs: MolGraphs, tokens: TokenMatrix, smiles_tokens: TokenMatrix | None = None) -> None:
        """One graph and one row of smiles_tokens per compound, one row of tokens per target.

        The networks over graphs do not read smiles_tokens.
        """
        self.graphs = graphs
        self._tokens = tokens
        self._smiles_tokens = smiles_tokens
        self._by_layers: dict[int, CompoundIndex] = {}

    def batch(self, compound: npt.NDArray[np.integer], target: npt.NDArray[np.integer]) -> "InteractionBatch":
        """The batch that pairs compound[i] with target[i]; both (n_rows,) integer indices."""
        return InteractionBatch(self, compound, target)

    def environments(self, n_layers: int) -> CompoundIndex:
        """The compounds' distinct atom environments of radius 1 to n_layers."""
        if n_layers not in self._by_layers:
            self._by_layers[n_layers] = CompoundIndex(self.graphs, n_layers)
        return self._by_layers[n_layers]

    @cached_property
    def targets(self) -> TargetIndex:
        """The targets' positions grouped by token."""
        return TargetIndex(self._tokens)

    @cached_property
    def residues(self) -> SequenceIndex:
        """The targets as sequences of tokens."""
        return SequenceIndex(self._tokens)

    @cached_property
    def smiles(self) -> SequenceIndex:
        """The compounds as sequences of tokens.

        Raises:
            OptionError: No SMILES tokens were given.
        """
        if self._smiles_tokens is None:
            raise OptionError("this network reads SMILES: give EntityIndex the compounds' SMILES tokens")
        return SequenceIndex(self._smiles_tokens)


class InteractionBatch:
    """A batch of pairs: its unique compounds and targets, and which of them each row pairs.

    Attributes:
        compound_of_row: (n_rows,) int64 into the unique compounds.
        target_of_row: (n_rows,) int64 into the unique targets.
    """

    def __init__(self, index: EntityIndex, compound: npt.NDArray[np.integer], target: npt.NDArray[np.integer]) -> None:
        self._index = index
        self._compound = compound
        self._compounds, compound_of_row, self._multiplicity = np.unique(
            compound, return_inverse=True, return_counts=True
        )
        self._targets, target_of_row = np.unique(target, return_inverse=True)
        self.compound_of_row = torch.from_numpy(compound_of_row)
        self.target_of_row = torch.from_numpy(target_of_row)
        self._by_layers: dict[int, CompoundBatch] = {}

    def compounds(self, n_layers: int) -> CompoundBatch:
        """The unique compounds as distinct atom environments of radius 1 to n_layers."""
        if n_layers not in self._by_layers:
            self._by_layers[n_layers] = self._index.environments(n_layers).batch(self._compounds, self._multiplicity)
        return self._by_layers[n_layers]

    @cached_property
    def atoms(self) -> AtomBatch:
        """The atoms of each row's compound, expanded."""
        return expand_atoms(self._index.graphs, self._compound)

    @cached_property
    def smiles(self) -> SequenceBatch:
        """The unique compounds as sequences of tokens."""
        return self._index.smiles.batch(self._compounds)

    @cached_property
    def targets(self) -> TargetBatch:
        """The unique targets as positions grouped by token."""
        return self._index.targets.batch(self._targets)

    @cached_property
    def residues(self) -> SequenceBatch:
        """The unique targets as sequences of tokens."""
        return self._index.residues.batch(self._targets)
