"""A partner holds its own compounds and targets, in every encoding that a network may read."""

from dataclasses import replace

import numpy as np
import pytest

from interaction_cases import small_encoded
from pharmonia.base.errors import DataFileError
from pharmonia.chem.smiles import tokenise_smiles
from pharmonia.data.columnar import encoded_arrays, encoded_from_arrays
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.data.partner import PartnerDataset, partner_dataset


def partner(encoded: EncodedInteractions) -> PartnerDataset:
    return partner_dataset(encoded, "A", train=np.array([5, 30, 70]), valid=np.array([9]))


def test_smiles_tokens_go_with_the_compounds_of_a_partner() -> None:
    encoded = small_encoded()
    own, pairs = partner(encoded), encoded.interactions.pairs.take(np.array([5, 30, 70, 9]))
    compound = np.concatenate((own.train.compound, own.valid.compound))
    np.testing.assert_array_equal(own.smiles_tokens[compound], encoded.smiles_tokens[pairs.compound])
    assert own.smiles_tokens.shape[0] == own.graphs.n_compounds == np.unique(pairs.compound).size


def test_smiles_tokens_are_read_only_and_belong_to_the_graphs() -> None:
    encoded = small_encoded()
    own = partner(encoded)
    for tokens in (encoded.smiles_tokens, own.smiles_tokens):
        with pytest.raises(ValueError, match="read-only"):
            tokens[0, 0] = 1
    with pytest.raises(DataFileError, match="different compounds"):
        replace(own, smiles_tokens=own.smiles_tokens[1:])


def test_data_prepared_before_networks_read_smiles_have_their_tokens() -> None:
    """What is stored holds graphs and residues only; tokens follow from the SMILES stored beside them."""
    encoded = small_encoded()
    arrays = encoded_arrays(encoded)
    assert arrays.keys() == {"features", "atom_type", "atom_offsets", "neighbours", "neighbour_offsets", "tokens"}
    again = encoded_from_arrays(encoded.interactions, arrays)
    np.testing.assert_array_equal(again.smiles_tokens, tokenise_smiles(encoded.interactions.smiles))
