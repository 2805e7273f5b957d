"""Measured drug-target interactions: each unique compound and target once, pairs as index triples."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_copy, frozen_view
from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import DataFileError
from pharmonia.chem.graphs import Indices, MolGraphs
from pharmonia.chem.proteins import TokenMatrix
from pharmonia.chem.smiles import tokenise_smiles

NO_FOLD = -1  # the row is in no published fold
TEST_FOLD = 0  # the published test fold; 1.. are the published training folds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Measured pairs as index triples.

    Args:
        compound: (n_rows,) int32, index of the unique compound.
        target: (n_rows,) int32, index of the unique target.
        value: (n_rows,) float32, the measured affinity.

    Raises:
        DataFileError: Lengths differ or a value is not finite.
    """

    compound: Indices
    target: Indices
    value: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if not self.compound.shape == self.target.shape == self.value.shape or self.value.ndim != 1:
            raise DataFileError("compound, target and value of the pairs differ in length")
        if not np.isfinite(self.value).all():
            raise DataFileError("a measured value is not finite")
        for name in ("compound", "target", "value"):
            object.__setattr__(self, name, frozen_copy(getattr(self, name)))

    def __len__(self) -> int:
        return self.value.size

    def take(self, rows: npt.NDArray[np.integer]) -> "Pairs":
        """The pairs at these rows, in this order."""
        return Pairs(compound=self.compound[rows], target=self.target[rows], value=self.value[rows])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interactions:
    """A data set of measured interactions.

    Args:
        name: Its name in the catalogue, or the user's.
        measure: What the value is, with its unit, such as "KIBA score" or "pKd".
        compound_ids: One per unique structure: the identifiers listed for it, joined by ";".
        smiles: Canonical SMILES of each unique compound.
        target_ids: One per unique sequence: the identifiers listed for it, joined by ";".
        sequences: Residues of each unique target.
        pairs: The measured rows, in the published order where there is one.
        fold: (n_rows,) int8: -1 in no published fold, 0 published test, 1.. published training folds.
        n_listed_compounds: Compounds in the source, before identical structures were joined.
        n_listed_targets: Targets in the source, before identical sequences were joined.

    Raises:
        DataFileError: Tables, indices and rows do not fit together.
    """

    name: str
    measure: str
    compound_ids: tuple[str, ...]
    smiles: tuple[str, ...]
    target_ids: tuple[str, ...]
    sequences: tuple[str, ...]
    pairs: Pairs
    fold: npt.NDArray[np.int8]
    n_listed_compounds: int
    n_listed_targets: int

    def __post_init__(self) -> None:
        if len(self.compound_ids) != len(self.smiles) or len(self.target_ids) != len(self.sequences):
            raise DataFileError(f"data set {self.name}: identifiers and structures differ in number")
        if len(self.pairs) == 0:
            raise DataFileError(f"data set {self.name} has no measured interaction")
        if self.fold.shape != self.pairs.value.shape:
            raise DataFileError(f"data set {self.name}: one fold per row is needed")
        for index, table in ((self.pairs.compound, self.smiles), (self.pairs.target, self.sequences)):
            if int(index.min()) < 0 or int(index.max()) >= len(table):
                raise DataFileError(f"data set {self.name}: a row names a compound or target that is not listed")
        object.__setattr__(self, "fold", frozen_copy(self.fold))

    @property
    def n_compounds(self) -> int:
        """Number of unique structures."""
        return len(self.smiles)

    @property
    def n_targets(self) -> int:
        """Number of unique sequences."""
        return len(self.sequences)

    @property
    def has_published_folds(self) -> bool:
        """Whether some rows belong to a published test fold."""
        return bool((self.fold == TEST_FOLD).any())

    def pair_keys(self) -> npt.NDArray[np.int64]:
        """(n_rows,) int64, equal for rows of the same structure and sequence."""
        return self.pairs.compound.astype(np.int64) * self.n_targets + self.pairs.target

    def digest(self) -> str:
        """SHA-256 over structures, sequences, rows and folds, 64 hexadecimal digits; equal for equal data."""
        pairs = self.pairs
        digest = hashlib.sha256(canonical_json([self.measure, self.smiles, self.sequences]))
        for array, dtype in ((pairs.compound, "<i4"), (pairs.target, "<i4"), (pairs.value, "<f4"), (self.fold, "<i1")):
            digest.update(array.astype(dtype).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedInteractions:
    """A data set with each unique compound as a graph and as tokens, and each unique target as tokens.

    Args:
        interactions: The data set.
        graphs: Packed graphs, one per unique compound.
        tokens: (n_targets, 1000) uint8.

    Attributes:
        smiles_tokens: (n_compounds, 100) uint8. Read off the SMILES here, in milliseconds, and stored nowhere: so
            data sets that were prepared before networks read SMILES have them too.

    Raises:
        DataFileError: Graphs or tokens are not one per unique compound and target.
    """

    interactions: Interactions
    graphs: MolGraphs
    tokens: TokenMatrix
    smiles_tokens: TokenMatrix = field(init=False)

    def __post_init__(self) -> None:
        expected = (self.interactions.n_compounds, self.interactions.n_targets)
        if (self.graphs.n_compounds, self.tokens.shape[0]) != expected:
            raise DataFileError(f"data set {self.interactions.name}: encoded for other compounds or targets")
        object.__setattr__(self, "tokens", frozen_copy(self.tokens))
        object.__setattr__(self, "smiles_tokens", frozen_view(tokenise_smiles(self.interactions.smiles)))
