"""SMILES to canonical SMILES; the identity of a compound in interaction data.

Assay preparation with tautomers, charges and fragments is a separate and much slower matter; interaction
benchmarks identify a compound by RDKit's canonical isomeric SMILES, as GraphDTA does.
"""

from rdkit import Chem, rdBase

from pharmonia.base.errors import CompoundError

MAX_SMILES_LENGTH = 5_000  # characters; RDKit's parser takes memory and time with the length


def canonical_smiles(smiles: str) -> str:
    """RDKit's canonical isomeric SMILES of a compound.

    Raises:
        CompoundError: Empty, too long, or not a molecule that RDKit can sanitise.
    """
    text = smiles.strip()
    if not text:
        raise CompoundError("the SMILES is empty")
    if len(text) > MAX_SMILES_LENGTH:
        raise CompoundError(f"the SMILES has {len(text)} characters; at most {MAX_SMILES_LENGTH} are read")
    return str(Chem.MolToSmiles(molecule(text), isomericSmiles=True))


def molecule(smiles: str) -> Chem.Mol:
    """The sanitised RDKit molecule of a SMILES string.

    Raises:
        CompoundError: RDKit cannot parse or sanitise it, or it has no atom.
    """
    with rdBase.BlockLogs():
        parsed = Chem.MolFromSmiles(smiles)
    if parsed is None:
        raise CompoundError("RDKit cannot read the SMILES as a molecule (syntax, valence or aromaticity)")
    if parsed.GetNumAtoms() == 0:
        raise CompoundError("the SMILES has no atom")
    return parsed
