"""Interactions as typed columns (Arrow tables and plain arrays) and back."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pharmonia.chem.graphs import MolGraphs, build_graphs
from pharmonia.chem.proteins import tokenise
from pharmonia.data.adme import AssayTable
from pharmonia.data.catalogue import Kind
from pharmonia.data.interactions import EncodedInteractions, Interactions, Pairs
from pharmonia.data.manifest import FileRecord, Manifest

PAIRS, COMPOUNDS, TARGETS, ENCODED, ASSAYS = "interactions", "compounds", "targets", "encoded", "assays"

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


def interactions_manifest(
    interactions: Interactions,
    *,
    title: str,
    licence: str,
    citation: str,
    notes: tuple[str, ...],
    sources: tuple[FileRecord, ...],
) -> Manifest:
    """The manifest of a data set of interactions, without its files."""
    return Manifest(
        name=interactions.name,
        title=title,
        kind=Kind.INTERACTIONS,
        measure=interactions.measure,
        licence=licence,
        citation=citation,
        notes=notes,
        n_rows=len(interactions.pairs),
        n_compounds=interactions.n_compounds,
        n_targets=interactions.n_targets,
        n_listed_compounds=interactions.n_listed_compounds,
        n_listed_targets=interactions.n_listed_targets,
        sources=sources,
        files=(),
    )


def assays_as_arrow(assays: AssayTable) -> pa.Table:
    """One table: id, smiles and a column per endpoint, NaN where not measured."""
    text = {"id": pa.array(assays.compound_ids, pa.string()), "smiles": pa.array(assays.smiles, pa.string())}
    values = {name: assays.values[:, column] for column, name in enumerate(assays.endpoints)}
    return pa.table({**text, **values})


def assays_from_arrow(name: str, table: pa.Table) -> AssayTable:
    """The assay table that `assays_as_arrow` made a table of.

    Raises:
        DataFileError: The table does not fit.
    """
    endpoints = tuple(table.column_names[2:])
    return AssayTable(
        name=name,
        compound_ids=tuple(table["id"].to_pylist()),
        smiles=tuple(table["smiles"].to_pylist()),
        endpoints=endpoints,
        values=np.stack([table[endpoint].to_numpy() for endpoint in endpoints], axis=1),
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
