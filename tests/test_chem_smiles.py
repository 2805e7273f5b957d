"""SMILES tokens against a plain loop."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmonia.base.errors import CompoundError
from pharmonia.chem.smiles import N_CHARACTERS, N_SMILES_TOKENS, SMILES_ALPHABET, tokenise_smiles
from pharmonia.data.interactions import EncodedInteractions


def plain_tokens(text: str) -> npt.NDArray[np.int64]:
    tokens = np.zeros(100, dtype=np.int64)
    for position, letter in enumerate(text[:100]):
        tokens[position] = SMILES_ALPHABET.index(letter) + 1 if letter in SMILES_ALPHABET else 65
    return tokens


def test_the_alphabet_is_deepdtas_64_characters_in_ascii_order() -> None:
    assert len(SMILES_ALPHABET) == 64
    assert list(SMILES_ALPHABET) == sorted(set(SMILES_ALPHABET))
    assert set("J$*:>QXjkpqvwxz~") & set(SMILES_ALPHABET) == set()
    assert (N_SMILES_TOKENS, N_CHARACTERS) == (66, 100)


@given(texts=st.lists(st.text(min_size=1, max_size=130), max_size=4))
def test_tokens_of_any_strings(texts: list[str]) -> None:
    expected = np.array([plain_tokens(text) for text in texts]).reshape(-1, 100)
    found = tokenise_smiles(texts)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_real_compounds_need_no_other_token(kiba_sample: EncodedInteractions) -> None:
    tokens = kiba_sample.smiles_tokens
    np.testing.assert_array_equal(tokens, [plain_tokens(text) for text in kiba_sample.interactions.smiles])
    assert tokens.max() < 65


def test_stereochemistry_and_length_are_told_apart_up_to_a_hundred_characters() -> None:
    left, right = tokenise_smiles(["C[C@H](N)O", "C[C@@H](N)O"])
    assert (left != right).any()
    long, longer = tokenise_smiles(["C" * 100, "C" * 101])
    np.testing.assert_array_equal(long, longer)


def test_unknown_characters_share_a_token_that_is_not_the_padding() -> None:
    phosphorus, dummy, foreign = tokenise_smiles(["p1cccc1", "*1cccc1", "é1cccc1"])
    np.testing.assert_array_equal(phosphorus, dummy)
    np.testing.assert_array_equal(phosphorus, foreign)
    assert phosphorus[0] == 65


def test_an_empty_smiles_is_refused() -> None:
    with pytest.raises(CompoundError, match="SMILES 1"):
        tokenise_smiles(["C", ""])
