"""A data set of interactions refuses what does not fit together, and is known by its digest."""

from dataclasses import replace

import numpy as np
import pytest

from interaction_cases import small_encoded, small_interactions
from pharmonia.base.errors import DataFileError
from pharmonia.data.interactions import EncodedInteractions, Pairs


def pairs(n_rows: int = 3) -> Pairs:
    index = np.zeros(n_rows, dtype=np.int32)
    return Pairs(compound=index, target=index, value=np.ones(n_rows, dtype=np.float32))


def test_pairs_of_different_lengths_or_without_a_finite_value_are_refused() -> None:
    good = pairs()
    with pytest.raises(DataFileError, match="differ in length"):
        replace(good, target=np.zeros(2, dtype=np.int32))
    with pytest.raises(DataFileError, match="not finite"):
        replace(good, value=np.array([1, np.nan, 1], dtype=np.float32))


def test_the_arrays_of_pairs_are_copies_that_nobody_can_change() -> None:
    index = np.zeros(3, dtype=np.int32)
    made = replace(pairs(), compound=index)
    index[0] = 5
    assert made.compound[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        made.value[0] = 2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"smiles": ("C",)}, "differ in number"),
        ({"sequences": ("MK",)}, "differ in number"),
        ({"pairs": pairs(0), "fold": np.zeros(0, dtype=np.int8)}, "no measured interaction"),
        ({"fold": np.zeros(2, dtype=np.int8)}, "one fold per row"),
        ({"compound_ids": ("C0",), "smiles": ("C",)}, "not listed"),
        ({"target_ids": ("T0",), "sequences": ("MK",)}, "not listed"),
    ],
)
def test_tables_and_rows_that_do_not_fit_together_are_refused(change: dict[str, object], match: str) -> None:
    with pytest.raises(DataFileError, match=match):
        replace(small_interactions(), **change)  # type: ignore[arg-type]


def test_an_encoding_of_other_compounds_is_refused() -> None:
    encoded = small_encoded()
    with pytest.raises(DataFileError, match="other compounds or targets"):
        EncodedInteractions(
            interactions=encoded.interactions, graphs=encoded.graphs.take(np.arange(3)), tokens=encoded.tokens
        )


def test_the_digest_tells_data_sets_apart_by_their_content() -> None:
    first = small_interactions()
    assert first.digest() == small_interactions().digest()
    assert replace(first, name="another name").digest() == first.digest()
    value = first.pairs.value.copy()
    value[7] += 1e-3
    others = (
        replace(first, pairs=replace(first.pairs, value=value)),
        replace(first, measure="pKi"),
        replace(first, fold=np.zeros_like(first.fold)),
        replace(first, smiles=("CCS", *first.smiles[1:])),
        replace(first, sequences=("MKV", *first.sequences[1:])),
    )
    assert len({first.digest(), *(other.digest() for other in others)}) == 6
