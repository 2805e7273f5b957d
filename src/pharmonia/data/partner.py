"""What one partner trains on: its own compounds, its own targets, its own rows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_view
from pharmonia.base.errors import DataFileError, PartitionError
from pharmonia.chem.graphs import MolGraphs
from pharmonia.chem.proteins import TokenMatrix
from pharmonia.data.interactions import EncodedInteractions, Pairs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartnerDataset:
    """One partner's rows, indexing its own compounds and targets only.

    Args:
        name: The partner.
        graphs: Its unique compounds.
        tokens: (n_targets, 1000) uint8, its unique targets.
        smiles_tokens: (n_compounds, 100) uint8, its unique compounds' SMILES.
        train: Rows to learn from.
        valid: Rows to stop and choose by.

    Raises:
        PartitionError: No row to train on, or none to validate on.
        DataFileError: Graphs and SMILES tokens differ in their number of compounds.
    """

    name: str
    graphs: MolGraphs
    tokens: TokenMatrix
    smiles_tokens: TokenMatrix
    train: Pairs
    valid: Pairs

    def __post_init__(self) -> None:
        if len(self.train) == 0 or len(self.valid) == 0:
            raise PartitionError(f"{self.name} needs at least one training and one validation row")
        if self.smiles_tokens.shape[0] != self.graphs.n_compounds:
            raise DataFileError(f"{self.name}: SMILES tokens and graphs are of different compounds")
        for name in ("tokens", "smiles_tokens"):
            object.__setattr__(self, name, frozen_view(getattr(self, name)))


def partner_dataset(
    encoded: EncodedInteractions, name: str, *, train: npt.NDArray[np.int64], valid: npt.NDArray[np.int64]
) -> PartnerDataset:
    """The data set of a partner that owns these rows, with entities renumbered to its own."""
    pairs = encoded.interactions.pairs
    rows = np.concatenate((train, valid))
    compounds, compound = np.unique(pairs.compound[rows], return_inverse=True)
    targets, target = np.unique(pairs.target[rows], return_inverse=True)
    own = Pairs(compound=compound.astype(np.int32), target=target.astype(np.int32), value=pairs.value[rows])
    return PartnerDataset(
        name=name,
        graphs=encoded.graphs.take(compounds),
        tokens=encoded.tokens[targets],
        smiles_tokens=encoded.smiles_tokens[compounds],
        train=own.take(np.arange(train.size)),
        valid=own.take(np.arange(train.size, rows.size)),
    )
