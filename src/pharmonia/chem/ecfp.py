"""Compounds as the numbers of their circular environments."""

from collections.abc import Sequence

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator

from pharmonia.base.errors import CompoundError
from pharmonia.chem.ecfp_matrix import Codes, Columns, CsrMatrix, EcfpSettings, permute_columns, stack_rows
from pharmonia.chem.keyed import PreparationKey


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

    def environments(self, parsed: Chem.Mol) -> Codes:
        """(n_set,) uint32, ascending: the environments of a molecule before they are folded into columns."""
        found = self._generator.GetSparseCountFingerprint(parsed).GetNonzeroElements()
        codes = np.fromiter(found, dtype=np.uint32, count=len(found))
        codes.sort()
        return codes

    def columns_of(self, form: str) -> Columns:
        """The columns of a standard form, or of any SMILES that RDKit wrote.

        Reads it without sanitising: RDKit's own SMILES state aromaticity as they are, so the columns are those of the
        sanitised molecule, at a quarter of the cost. SMILES of other programs go through `Standardiser` first.

        Raises:
            CompoundError: It is no molecule.
        """
        with rdBase.BlockLogs():
            parsed = Chem.MolFromSmiles(form, sanitize=False)
        if parsed is None:
            raise CompoundError("RDKit cannot read the SMILES as a molecule")
        parsed.UpdatePropertyCache(strict=False)
        Chem.FastFindRings(parsed)
        return self.columns(parsed)


def keyed_ecfp(forms: Sequence[str], settings: EcfpSettings, key: PreparationKey) -> CsrMatrix:
    """Keyed fingerprints of standard forms, in order.

    Raises:
        CompoundError: One is no molecule.
    """
    ecfp = Ecfp(settings)
    return permute_columns(stack_rows((ecfp.columns_of(form) for form in forms), settings.n_bits), key)
