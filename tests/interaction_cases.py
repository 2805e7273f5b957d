"""Small made-up data sets for tests."""

import numpy as np

from pharmonia.bench.scenario import Scenario, share_rows
from pharmonia.chem.graphs import build_graphs
from pharmonia.chem.proteins import tokenise
from pharmonia.data.interactions import EncodedInteractions, Interactions, Pairs
from pharmonia.data.partition import Partition

SMILES = ("CCO", "c1ccccc1", "CC(=O)O", "CCN", "CCCl", "c1ccncc1", "CC#N", "COC", "CC(C)O", "C1CCCCC1", "O=CO", "NCCO")
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


def small_interactions(*, n_rows: int = 160, n_targets: int = 9, seed: int = 0, folds: bool = False) -> Interactions:
    """Rows over 12 compounds; every compound and target is measured when there are rows enough."""
    rng = np.random.default_rng(seed)
    compound = np.concatenate((np.arange(len(SMILES)), rng.integers(len(SMILES), size=n_rows)))[:n_rows]
    target = np.concatenate((np.arange(n_targets), rng.integers(n_targets, size=n_rows)))[:n_rows]
    value = 5 + 0.1 * compound - 0.2 * target + rng.normal(scale=0.1, size=n_rows)
    sequences = tuple("".join(rng.choice(list(RESIDUES), size=30 + 7 * index)) for index in range(n_targets))
    return Interactions(
        name="small",
        measure="pKd",
        compound_ids=tuple(f"C{index}" for index in range(len(SMILES))),
        smiles=SMILES,
        target_ids=tuple(f"T{index}" for index in range(n_targets)),
        sequences=sequences,
        pairs=Pairs(compound=compound.astype(np.int32), target=target.astype(np.int32), value=value.astype(np.float32)),
        fold=(np.arange(n_rows) % 6 if folds else np.full(n_rows, -1)).astype(np.int8),
        n_listed_compounds=len(SMILES),
        n_listed_targets=n_targets,
    )


def small_encoded(**options: int) -> EncodedInteractions:
    """The same with graphs and tokens."""
    interactions = small_interactions(**options)  # type: ignore[arg-type]
    return EncodedInteractions(
        interactions=interactions, graphs=build_graphs(interactions.smiles), tokens=tokenise(interactions.sequences)
    )


def shared_out(interactions: Interactions, scenario: str, n_partners: int, rng: np.random.Generator) -> Partition:
    """The rows shared out between partners by a scenario such as `target`."""
    return share_rows(Scenario.parse(scenario), interactions, n_partners, rng)
