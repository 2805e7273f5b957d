"""Compounds as ECFP4 fingerprints: which small environments of atoms they have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rdkit.Chem import rdFingerprintGenerator
from scipy.sparse import csr_array

from pharmonia.base.arrays import frozen_copy
from pharmonia.base.errors import CompoundError
from pharmonia.chem.standardise import molecule

RADIUS = 2  # bonds around each atom; ECFP4 counts the diameter
N_BITS = 2_048
N_BYTES = N_BITS // 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprints:
    """One fingerprint per unique compound, packed.

    Args:
        bits: (n_compounds, 256) uint8; bit b of a compound is bit 7 - b % 8 of byte b // 8, as `np.packbits` has it.

    Raises:
        CompoundError: Another shape.
    """

    bits: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.bits.ndim != 2 or self.bits.shape[1] != N_BYTES or self.bits.dtype != np.uint8:
            raise CompoundError(f"fingerprints must be (n_compounds, {N_BYTES}) uint8, got {self.bits.shape}")
        object.__setattr__(self, "bits", frozen_copy(self.bits))

    @property
    def n_compounds(self) -> int:
        """Number of compounds."""
        return len(self.bits)

    def as_csr(self) -> csr_array:
        """(n_compounds, 2048) float32 of zeros and ones."""
        return csr_array(np.unpackbits(self.bits, axis=1).astype(np.float32))


def ecfp4(smiles: Sequence[str]) -> Fingerprints:
    """Morgan fingerprints of radius 2, folded to 2,048 bits, in order.

    Rogers and Hahn 2010 (doi:10.1021/ci100050t) as RDKit's Morgan generator has it: a bit says that an environment is
    there, not how often; without chirality.

    Args:
        smiles: One per unique compound.

    Raises:
        CompoundError: One is not a molecule.
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=N_BITS)
    bits = np.empty((len(smiles), N_BYTES), dtype=np.uint8)
    for row, text in enumerate(smiles):
        bits[row] = np.packbits(generator.GetFingerprintAsNumPy(molecule(text)))
    return Fingerprints(bits=bits)
