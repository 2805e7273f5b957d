"""SMILES to canonical SMILES; the identity of a compound in interaction data.

Assay preparation with tautomers, charges and fragments is a separate and much slower matter; interaction
benchmarks identify a compound by RDKit's canonical isomeric SMILES, as GraphDTA does.
"""

from rdkit import Chem, rdBase

from pharmonia.base.errors import CompoundError

MAX_SMILES_LENGTH = 5_000  # characters; RDKit's parser takes memory and time with the length
MAX_DEGREE = 10  # neighbours of an atom that GraphDTA's features can tell


def canonical_smiles(smiles: str) -> str:
    """RDKit's canonical isomeric SMILES of a compound.

    Raises:
        CompoundError: Empty, too long, with white space or letters that are not ASCII inside (RDKit would read the rest
            as a name), not a molecule that RDKit can sanitise, or an atom has more than ten neighbours.
    """
    text = smiles.strip()
    if not text:
        raise CompoundError("the SMILES is empty")
    if len(text) > MAX_SMILES_LENGTH:
        raise CompoundError(f"the SMILES has {len(text)} characters; at most {MAX_SMILES_LENGTH} are read")
    if len(text.split()) > 1:
        raise CompoundError("the SMILES has white space inside")
    if not (text.isascii() and text.isprintable()):
        raise CompoundError("cannot read the SMILES: it has a letter or sign that is not printable ASCII")
    return str(Chem.MolToSmiles(molecule(text), isomericSmiles=True))


def molecule(smiles: str) -> Chem.Mol:
    """The sanitised RDKit molecule of a SMILES string.

    Raises:
        CompoundError: RDKit cannot parse or sanitise it, it has no atom, or one has over ten neighbours.
    """
    with rdBase.BlockLogs():
        parsed = Chem.MolFromSmiles(smiles)
    if parsed is None:
        raise CompoundError("RDKit cannot read the SMILES as a molecule (syntax, valence or aromaticity)")
    if parsed.GetNumAtoms() == 0:
        raise CompoundError("the SMILES has no atom")
    crowded = next((atom for atom in parsed.GetAtoms() if atom.GetDegree() > MAX_DEGREE), None)
    if crowded is not None:
        degree = crowded.GetDegree()
        raise CompoundError(f"an atom {crowded.GetSymbol()} has {degree} neighbours; at most {MAX_DEGREE} are read")
    return parsed
