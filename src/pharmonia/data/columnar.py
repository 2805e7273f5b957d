"""Interactions as typed columns (Arrow tables and plain arrays) and back."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pharmonia.chem.graphs import MolGraphs, build_graphs
from pharmonia.chem.proteins import tokenise
from pharmonia.data.interactions import EncodedInteractions, Interactions, Pairs
from pharmonia.data.manifest import Manifest

PAIRS, COMPOUNDS, TARGETS, ENCODED = "interactions", "compounds", "targets", "encoded"

Array = npt.NDArray[Any]

_GRAPH_FIELDS = ("features", "atom_type", "atom_offsets", "neighbours", "neighbour_offsets")


def encode(interactions: Interactions, *, tick: Callable[[], None] | None = None) -> EncodedInteractions:
    """The data set with a graph per unique compound and tokens per unique target.

    Args:
        interactions: The data set.
        tick: Called once per compound, for a progress bar.
    """
    return EncodedInteractions(
        interactions=interactions,
        graphs=build_graphs(interactions.smiles, tick=tick),
        tokens=tokenise(interactions.sequences),
    )


def interaction_tables(interactions: Interactions) -> dict[str, pa.Table]:
    """Tables interactions (compound, target, value, fold), compounds (id, smiles), targets (id, sequence)."""
    pairs = interactions.pairs
    return {
        PAIRS: pa.table(
            {
                "compound": pairs.compound,
                "target": pairs.target,
                "value": pairs.value,
                "fold": interactions.fold,
            }
        ),
        COMPOUNDS: _text_table(id=interactions.compound_ids, smiles=interactions.smiles),
        TARGETS: _text_table(id=interactions.target_ids, sequence=interactions.sequences),
    }


def interactions_from_tables(manifest: Manifest, tables: Mapping[str, pa.Table]) -> Interactions:
    """The data set of a manifest and the tables that `interaction_tables` made.

    Raises:
        DataFileError: The tables do not fit together.
    """
    pairs, compounds, targets = tables[PAIRS], tables[COMPOUNDS], tables[TARGETS]
    return Interactions(
        name=manifest.name,
        measure=manifest.measure,
        compound_ids=tuple(compounds["id"].to_pylist()),
        smiles=tuple(compounds["smiles"].to_pylist()),
        target_ids=tuple(targets["id"].to_pylist()),
        sequences=tuple(targets["sequence"].to_pylist()),
        pairs=Pairs(
            compound=pairs["compound"].to_numpy(),
            target=pairs["target"].to_numpy(),
            value=pairs["value"].to_numpy(),
        ),
        fold=pairs["fold"].to_numpy(),
        n_listed_compounds=manifest.n_listed_compounds,
        n_listed_targets=manifest.n_listed_targets,
    )


def encoded_arrays(encoded: EncodedInteractions) -> dict[str, Array]:
    """The graphs' and tokens' arrays by name."""
    graphs = {name: np.asarray(getattr(encoded.graphs, name)) for name in _GRAPH_FIELDS}
    return {**graphs, "tokens": np.asarray(encoded.tokens)}


def encoded_from_arrays(interactions: Interactions, arrays: Mapping[str, Array]) -> EncodedInteractions:
    """The encoded data set from the arrays of `encoded_arrays`.

    Raises:
        CompoundError: The arrays are not packed graphs.
        DataFileError: They belong to another data set.
    """
    graphs = MolGraphs(**{name: arrays[name] for name in _GRAPH_FIELDS})
    return EncodedInteractions(interactions=interactions, graphs=graphs, tokens=arrays["tokens"])


def _text_table(**columns: tuple[str, ...]) -> pa.Table:
    return pa.table({name: pa.array(values, type=pa.string()) for name, values in columns.items()})
