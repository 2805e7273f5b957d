"""How compounds are put into folds under a key; needs no RDKit."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.errors import OptionError
from pharmonia.chem.ecfp_matrix import Columns
from pharmonia.chem.keyed import PreparationKey

MAX_FOLDS = 100
ALL_ACYCLIC = "acyclic"
# Bits of ECFP6 hashed to 32,000 that are set in about half of ChEMBL's compounds, as MELLODDY-TUNER 3 lists them.
LSH_BITS = (
    *(26490, 8094, 25216, 21099, 2487, 2991, 9639, 17984),
    *(24189, 8272, 1787, 31834, 11815, 8648, 27066, 17552),
)


class FoldMethod(StrEnum):
    """What two compounds of one fold have in common."""

    SCAFFOLD = "scaffold"
    LSH = "lsh"


class AcyclicRule(StrEnum):
    """Where compounds without a ring go."""

    BY_STRUCTURE = "by-structure"  # each by its own structure
    ONE_FOLD = "one-fold"  # all together, as in MELLODDY-TUNER 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldSettings:
    """How compounds are put into folds.

    Args:
        method: By scaffold, or by a locality-sensitive hash of the fingerprint.
        n_folds: Number of folds.
        n_rings: Scaffolds of more rings are cut down to about that many.
        acyclic: Where compounds without a ring go, of the scaffold method.
        lsh_bits: Columns (before the key's permutation) that the hash reads.

    Raises:
        OptionError: Numbers out of range.
    """

    method: FoldMethod = FoldMethod.SCAFFOLD
    n_folds: int = 5
    n_rings: int = 3
    acyclic: AcyclicRule = AcyclicRule.BY_STRUCTURE
    lsh_bits: tuple[int, ...] = LSH_BITS

    def __post_init__(self) -> None:
        if not 2 <= self.n_folds <= MAX_FOLDS:
            raise OptionError(f"the number of folds must be 2 to {MAX_FOLDS}, got {self.n_folds}")
        if self.n_rings < 1:
            raise OptionError(f"scaffolds keep at least 1 ring, got {self.n_rings}")
        if not self.lsh_bits or min(self.lsh_bits) < 0 or len(set(self.lsh_bits)) != len(self.lsh_bits):
            raise OptionError("the hash needs columns of 0 or more, each once")


def fold_label(scaffold: str, smiles: str, columns: Columns, settings: FoldSettings) -> str:
    """The text whose keyed hash is the fold; equal texts mean one fold.

    Args:
        scaffold: `fold_scaffold` of the compound.
        smiles: Its standard form.
        columns: Its environments before the key's permutation.
        settings: How.
    """
    match settings.method:
        case FoldMethod.SCAFFOLD:
            if scaffold:
                return f"scaffold {scaffold}"
            return ALL_ACYCLIC if settings.acyclic is AcyclicRule.ONE_FOLD else f"{ALL_ACYCLIC} {smiles}"
        case FoldMethod.LSH:
            return "lsh " + "".join("01"[bit] for bit in np.isin(settings.lsh_bits, columns).astype(int))


def folds_of(labels: list[str], key: PreparationKey, n_folds: int) -> npt.NDArray[np.int8]:
    """(n_labels,) int8: the fold of each label, each distinct label hashed once."""
    known = {label: key.fold(label, n_folds) for label in set(labels)}
    return np.fromiter((known[label] for label in labels), dtype=np.int8, count=len(labels))
