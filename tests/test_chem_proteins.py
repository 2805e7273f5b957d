"""Tokens against a plain loop."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.errors import ProteinError
from pharmonia.chem.proteins import clean_sequence, tokenise
from pharmonia.data.interactions import EncodedInteractions

ALPHABET = "ABCDEFGHIKLMNOPQRSTUVWXYZ"
sequences = st.text(alphabet=ALPHABET, min_size=1, max_size=1_200)


def plain_tokens(sequence: str) -> npt.NDArray[np.float64]:
    """GraphDTA's seq_cat."""
    number = {letter: position + 1 for position, letter in enumerate(ALPHABET)}
    tokens = np.zeros(1_000)
    for position, letter in enumerate(sequence[:1_000]):
        tokens[position] = number[letter]
    return tokens


def test_tokens_are_those_of_graphdta(kiba_sample: EncodedInteractions) -> None:
    expected = [plain_tokens(sequence) for sequence in kiba_sample.interactions.sequences]
    np.testing.assert_array_equal(kiba_sample.tokens, expected)


@given(texts=st.lists(sequences, max_size=4))
def test_tokens_of_any_sequences(texts: list[str]) -> None:
    expected = np.array([plain_tokens(text) for text in texts]).reshape(-1, 1_000)
    np.testing.assert_array_equal(tokenise(texts), expected)


@given(text=sequences)
def test_case_and_surrounding_space_do_not_matter(text: str) -> None:
    assert clean_sequence(f" {text.lower()}\n") == text


@pytest.mark.parametrize("text", ["", "  ", "MKJ", "MK*", "MK V", "M1", "MÉ", ">sp|P1\nMKV"])
def test_what_is_no_protein_is_refused(text: str) -> None:
    with pytest.raises(ProteinError):
        clean_sequence(text)


@pytest.mark.parametrize("text", ["", "mkv", "MKJ", "MÉ"])
def test_only_cleaned_sequences_become_tokens(text: str) -> None:
    with pytest.raises(ProteinError, match="sequence 1"):
        tokenise(["MKV", text])
