"""How structures are standardised, and why some cannot be; needs no RDKit."""

from dataclasses import dataclass
from enum import StrEnum

from pharmonia.base.errors import OptionError

MAX_SMILES_LENGTH = 5_000  # characters; RDKit's parser takes memory and time with the length


class Refusal(StrEnum):
    """Why a structure has no standard form."""

    EMPTY = "empty-structure"
    TOO_LONG = "smiles-too-long"
    SPACE = "white-space-in-smiles"
    UNREADABLE = "unreadable-structure"
    POLYMER = "polymer-or-open-structure"
    TOO_LARGE = "too-many-atoms"
    MIXTURE = "mixture"
    FAILED = "standardisation-failed"
    CRASHED = "standardisation-crashed"


REFUSAL_TEXTS = {
    Refusal.EMPTY: "the structure is missing or has no atom",
    Refusal.TOO_LONG: f"the SMILES has more than {MAX_SMILES_LENGTH} characters",
    Refusal.SPACE: "the SMILES has white space inside",
    Refusal.UNREADABLE: "RDKit cannot read the SMILES as a molecule (syntax, valence or aromaticity)",
    Refusal.POLYMER: "the structure has an open end or an unknown atom (*), as polymers and generic structures have",
    Refusal.TOO_LARGE: "the structure has as many atoms as the profile's limit, or more",
    Refusal.MIXTURE: "the structure has two different large organic parts; nobody can say which was measured",
    Refusal.FAILED: "RDKit cannot standardise the structure",
    Refusal.CRASHED: "RDKit ended the process that standardised the structure",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardSettings:
    """How structures are standardised.

    Args:
        max_atoms: Structures with that many atoms (hydrogens apart), or more, are refused.
        max_tautomers: Tautomers that are looked at for the canonical one.
        keep_stereo: Whether stereo stays in the standard form.
        mixture_atoms: Two different carbon-bearing parts with that many atoms each make a mixture; counter-ions are
            smaller, except a few (such as pamoate) that would be taken for the compound.

    Raises:
        OptionError: A number is below 1.
    """

    max_atoms: int = 100
    max_tautomers: int = 256
    keep_stereo: bool = False
    mixture_atoms: int = 16

    def __post_init__(self) -> None:
        for name in ("max_atoms", "max_tautomers", "mixture_atoms"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be 1 or more, got {getattr(self, name)}")
