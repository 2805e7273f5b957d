"""Canonical SMILES to DeepDTA's tokens, a character each."""

from collections.abc import Sequence

import numpy as np

from pharmonia.base.errors import CompoundError
from pharmonia.chem.proteins import TokenMatrix

SMILES_ALPHABET = "#%()+-./0123456789=@ABCDEFGHIKLMNOPRSTUVWYZ[\\]abcdefghilmnorstuy"  # DeepDTA's 64 characters
OTHER = len(SMILES_ALPHABET) + 1  # the token of any other character
N_SMILES_TOKENS = OTHER + 1  # token 0 pads
N_CHARACTERS = 100  # kept; longer SMILES are cut at their end

_TOKEN_OF_BYTE = np.full(256, OTHER, dtype=np.uint8)
_TOKEN_OF_BYTE[list(SMILES_ALPHABET.encode())] = np.arange(1, OTHER, dtype=np.uint8)


def tokenise_smiles(smiles: Sequence[str]) -> TokenMatrix:
    """Tokens 1..64 of the first 100 characters, 65 for a character that DeepDTA does not know, 0 after the end.

    Ozturk et al. 2018 (doi:10.1093/bioinformatics/bty593): the 64 characters of its isomeric SMILES, here in ASCII
    order, and its cut at 100 for KIBA (no SMILES of Davis is longer). DeepDTA fails at other characters; here
    dummy atoms, atom maps or aromatic phosphorus share one token, as unknown elements share a feature in
    GraphDTA's graphs, so that a data set good for one network is good for all.

    Args:
        smiles: One per compound, as `canonical_smiles` gives them.

    Returns:
        (n_compounds, 100) uint8.

    Raises:
        CompoundError: A SMILES is empty.
    """
    lengths = np.array([len(text) for text in smiles], dtype=np.int64)
    if lengths.size and lengths.min() == 0:
        raise CompoundError(f"SMILES {int(lengths.argmin())} (counted from 0) is empty")
    padded = "".join(text[:N_CHARACTERS].ljust(N_CHARACTERS) for text in smiles)
    characters = np.frombuffer(padded.encode("latin-1", errors="replace"), dtype=np.uint8)
    tokens = _TOKEN_OF_BYTE[characters].reshape(-1, N_CHARACTERS)
    tokens[np.arange(N_CHARACTERS) >= lengths[:, None]] = 0
    return tokens
