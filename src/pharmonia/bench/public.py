"""Pairs that anybody may have: compounds of a public data set with the targets of another."""

import numpy as np

from pharmonia.base.errors import InputError, OptionError
from pharmonia.chem.graphs import build_graphs
from pharmonia.chem.proteins import tokenise
from pharmonia.data.catalogue import Kind
from pharmonia.data.interactions import EncodedInteractions, Interactions, Pairs
from pharmonia.run.cache import read_manifest
from pharmonia.run.datasets import load, load_assays


def public_interactions(
    public: str, interactions: Interactions, n_pairs: int, rng: np.random.Generator
) -> EncodedInteractions:
    """Random pairs of public compounds, none of them in the data set, with the data set's targets; values are 0.

    Args:
        public: A data set or assay table of the catalogue.
        interactions: Whose targets are paired.
        n_pairs: How many; fewer if there are fewer.
        rng: Draws them.

    Raises:
        UnknownNameError: The public data set is not there.
        OptionError: All its compounds are in the data set.
    """
    known = set(interactions.smiles)
    smiles = tuple(one for one in dict.fromkeys(_smiles(public)) if one not in known)
    if not smiles:
        raise OptionError(f"every compound of {public} is in {interactions.name}; choose another public data set")
    n_all = len(smiles) * interactions.n_targets
    chosen = np.sort(rng.choice(n_all, size=min(n_pairs, n_all), replace=False))
    pairs = Pairs(
        compound=(chosen // interactions.n_targets).astype(np.int32),
        target=(chosen % interactions.n_targets).astype(np.int32),
        value=np.zeros(chosen.size, dtype=np.float32),
    )
    lessons = Interactions(
        name=f"{public} with targets of {interactions.name}",
        measure=interactions.measure,
        compound_ids=tuple(f"public-{index}" for index in range(len(smiles))),
        smiles=smiles,
        target_ids=interactions.target_ids,
        sequences=interactions.sequences,
        pairs=pairs,
        fold=np.full(chosen.size, -1, dtype=np.int8),
        n_listed_compounds=len(smiles),
        n_listed_targets=interactions.n_targets,
    )
    return EncodedInteractions(
        interactions=lessons, graphs=build_graphs(smiles), tokens=tokenise(interactions.sequences)
    )


def _smiles(public: str) -> tuple[str, ...]:
    if read_manifest(public).kind is Kind.ASSAYS:
        return load_assays(public).smiles
    return load(public).interactions.smiles


def require_public(public: str) -> None:
    """Refuse a public data set that is not there, before anything trains.

    Raises:
        UnknownNameError: It is not there; the message names the command that fetches it.
        InputError: Its file cannot be read.
    """
    if not _smiles(public):
        raise InputError(f"the data set {public} holds no compounds")
