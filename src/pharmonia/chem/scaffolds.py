"""Compounds by scaffold: which of them are variations on one ring system."""

from functools import lru_cache

import numpy as np
from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from pharmonia.base.arrays import frozen_copy
from pharmonia.chem.graphs import Indices
from pharmonia.chem.standardise import molecule


def murcko_scaffold(smiles: str) -> str:
    """Canonical SMILES of the Bemis-Murcko scaffold, without stereo; empty for a compound without a ring.

    Bemis and Murcko 1996 (doi:10.1021/jm9602928) as RDKit has it: rings, the chains between them, and the atoms
    double-bonded to either.

    Raises:
        CompoundError: Not a molecule.
    """
    scaffold = MurckoScaffold.GetScaffoldForMol(molecule(smiles))  # type: ignore[no-untyped-call]
    return str(Chem.MolToSmiles(scaffold, isomericSmiles=False))


@lru_cache(maxsize=4)
def scaffold_groups(smiles: tuple[str, ...]) -> Indices:
    """(n_compounds,) int32, equal for compounds of one scaffold, counted from 0 in the order of the scaffolds' SMILES.

    A compound without a ring has no scaffold and is a group of its own: acyclic compounds have nothing in common
    that could leak. Remembered for the last four data sets.

    Args:
        smiles: One per unique compound.

    Raises:
        CompoundError: One is not a molecule.
    """
    keys = [murcko_scaffold(text) or f"acyclic {text}" for text in smiles]
    _, groups = np.unique(np.array(keys, dtype=np.str_), return_inverse=True)
    return frozen_copy(groups.astype(np.int32))
