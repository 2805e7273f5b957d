"""Pairs that anybody may have: compounds of a public data set with the targets of another."""

from functools import lru_cache

import numpy as np

from pharmonia.base.canonical import digest_json
from pharmonia.base.errors import OptionError
from pharmonia.chem.graphs import build_graphs
from pharmonia.chem.proteins import tokenise
from pharmonia.chem.scaffolds import murcko_scaffold
from pharmonia.data.catalogue import Kind
from pharmonia.data.interactions import EncodedInteractions, Interactions, Pairs
from pharmonia.data.splits import Part, Split, SplitKind
from pharmonia.run.cache import read_manifest
from pharmonia.run.datasets import load, load_assays


def public_interactions(
    public: str, interactions: Interactions, split: Split, rng: np.random.Generator
) -> EncodedInteractions:
    """Random pairs of public compounds with the targets that are trained on; values are 0.

    No compound of the data set is among them, and with the split cold-scaffold none that has a tested compound's
    scaffold: what is held out from training is held out from lessons too.

    Args:
        public: A data set or assay table of the catalogue.
        interactions: Whose targets are paired.
        split: Of them; there are as many pairs as training rows, fewer if there are fewer.
        rng: Draws them.

    Raises:
        UnknownNameError: The public data set is not there.
        OptionError: All its compounds are in the data set, or held out.
    """
    smiles = lesson_compounds(public, interactions, split)
    train = split.rows(Part.TRAIN)
    targets = np.unique(interactions.pairs.target[train])
    n_all = len(smiles) * targets.size
    chosen = np.sort(rng.choice(n_all, size=min(train.size, n_all), replace=False))
    pairs = Pairs(
        compound=(chosen // targets.size).astype(np.int32),
        target=targets[chosen % targets.size],
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


@lru_cache(maxsize=16)
def lesson_compounds(public: str, interactions: Interactions, split: Split) -> tuple[str, ...]:
    """SMILES of the public compounds that lessons may be about; remembered for splits that many cells share.

    Raises:
        UnknownNameError: The public data set is not there.
        OptionError: There are none.
    """
    known = set(interactions.smiles)
    smiles = tuple(one for one in dict.fromkeys(_smiles(public)) if one not in known)
    if split.kind is SplitKind.COLD_SCAFFOLD:
        tested = np.unique(interactions.pairs.compound[split.rows(Part.TEST)])
        held_out = {murcko_scaffold(interactions.smiles[index]) for index in tested} - {""}
        smiles = tuple(one for one in smiles if murcko_scaffold(one) not in held_out)
    if not smiles:
        raise OptionError(
            f"every compound of {public} is in {interactions.name}, or held out by the split {split.kind}; choose "
            "another public data set"
        )
    return smiles


@lru_cache(maxsize=4)
def public_digest(public: str) -> str:
    """SHA-256 of the compounds of a public data set, in their order.

    Raises:
        UnknownNameError: It is not there; the message names the command that fetches it.
    """
    return digest_json(list(_smiles(public)))


@lru_cache(maxsize=4)
def _smiles(public: str) -> tuple[str, ...]:
    if read_manifest(public).kind is Kind.ASSAYS:
        return load_assays(public).smiles
    return load(public).interactions.smiles
