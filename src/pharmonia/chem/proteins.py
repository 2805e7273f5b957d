"""Protein sequences to GraphDTA's tokens."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pharmonia.base.errors import ProteinError

ALPHABET = "ABCDEFGHIKLMNOPQRSTUVWXYZ"  # GraphDTA's 25 letters, in its order; J is not among them
N_TOKENS = len(ALPHABET) + 1  # token 0 pads
N_POSITIONS = 1_000  # residues kept; longer sequences are cut at their end

TokenMatrix = npt.NDArray[np.uint8]

_NO_TOKEN = 255
_TOKEN_OF_BYTE = np.full(256, _NO_TOKEN, dtype=np.uint8)
_TOKEN_OF_BYTE[list(ALPHABET.encode())] = np.arange(1, N_TOKENS, dtype=np.uint8)


def clean_sequence(sequence: str) -> str:
    """The sequence in upper case without surrounding white space.

    Raises:
        ProteinError: Empty, or a character is not one of the 25 residue letters.
    """
    text = sequence.strip().upper()
    if not text:
        raise ProteinError("the sequence is empty")
    foreign = sorted(set(text) - set(ALPHABET))
    if foreign:
        raise ProteinError(f"the sequence has characters that are no residues: {''.join(foreign[:10])!r}")
    return text


def tokenise(sequences: Sequence[str]) -> TokenMatrix:
    """Tokens 1..25 of the first 1,000 residues, padded with 0 at the end.

    Nguyen et al. 2021 (GraphDTA), whose `seq_cat` this equals.

    Args:
        sequences: Cleaned sequences (`clean_sequence`).

    Returns:
        (n_sequences, 1000) uint8.

    Raises:
        ProteinError: A sequence is empty or has a foreign character.
    """
    tokens = np.zeros((len(sequences), N_POSITIONS), dtype=np.uint8)
    for row, sequence in enumerate(sequences):
        encoded = np.frombuffer(sequence[:N_POSITIONS].encode("latin-1", errors="replace"), dtype=np.uint8)
        tokens[row, : encoded.size] = _TOKEN_OF_BYTE[encoded]
        if encoded.size == 0 or (tokens[row] == _NO_TOKEN).any():
            raise ProteinError(f"sequence {row} (counted from 0) is empty or holds a character that is no residue")
    return tokens
