"""Compounds as the numbers of their circular environments."""

from collections.abc import Sequence

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from pharmonia.chem.ecfp_matrix import Columns, CsrMatrix, EcfpSettings, permute_columns, stack_rows
from pharmonia.chem.keyed import PreparationKey
from pharmonia.chem.standardise import molecule


class Ecfp:
    """Environments of molecules under one set of settings; make one per process."""

    def __init__(self, settings: EcfpSettings) -> None:
        self._generator = rdFingerprintGenerator.GetMorganGenerator(radius=settings.radius, fpSize=settings.n_bits)

    def columns(self, parsed: Chem.Mol) -> Columns:
        """(n_set,) int32, ascending: the hashed environments of a molecule, without any key.

        Rogers and Hahn 2010 (doi:10.1021/ci100050t) as RDKit's Morgan generator has it, without chirality.
        """
        set_bits = self._generator.GetCountFingerprint(parsed).GetNonzeroElements()
        columns = np.fromiter(set_bits, dtype=np.int32, count=len(set_bits))
        columns.sort()
        return columns

    def columns_of(self, smiles: str) -> Columns:
        """The columns of a SMILES.

        Raises:
            CompoundError: It is no molecule.
        """
        return self.columns(molecule(smiles))


def keyed_ecfp(smiles: Sequence[str], settings: EcfpSettings, key: PreparationKey) -> CsrMatrix:
    """Keyed fingerprints of compounds, in order.

    Raises:
        CompoundError: One is no molecule.
    """
    ecfp = Ecfp(settings)
    return permute_columns(stack_rows((ecfp.columns_of(text) for text in smiles), settings.n_bits), key)
