"""Folds that put the same scaffold in the same fold at every partner, without showing anybody a structure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.Scaffolds import MurckoScaffold, rdScaffoldNetwork

from pharmonia.base.errors import CompoundError, OptionError
from pharmonia.chem.ecfp import Columns
from pharmonia.chem.keyed import PreparationKey
from pharmonia.chem.standardise import molecule

MAX_FOLDS = 100
ALL_ACYCLIC = "acyclic"
# Bits of ECFP6 hashed to 32,000 that are set in about half of ChEMBL's compounds, as MELLODDY-TUNER 3 lists them.
LSH_BITS = (
    *(26490, 8094, 25216, 21099, 2487, 2991, 9639, 17984),
    *(24189, 8272, 1787, 31834, 11815, 8648, 27066, 17552),
)


class FoldMethod(StrEnum):
    """What two compounds of one fold have in common."""

    SCAFFOLD = "scaffold"
    LSH = "lsh"


class AcyclicRule(StrEnum):
    """Where compounds without a ring go."""

    BY_STRUCTURE = "by-structure"  # each by its own structure
    ONE_FOLD = "one-fold"  # all together, as in MELLODDY-TUNER 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldSettings:
    """How compounds are put into folds.

    Args:
        method: By scaffold, or by a locality-sensitive hash of the fingerprint.
        n_folds: Number of folds.
        n_rings: Scaffolds of more rings are cut down to about that many.
        acyclic: Where compounds without a ring go, of the scaffold method.
        lsh_bits: Columns (before the key's permutation) that the hash reads.

    Raises:
        OptionError: Numbers out of range.
    """

    method: FoldMethod = FoldMethod.SCAFFOLD
    n_folds: int = 5
    n_rings: int = 3
    acyclic: AcyclicRule = AcyclicRule.BY_STRUCTURE
    lsh_bits: tuple[int, ...] = LSH_BITS

    def __post_init__(self) -> None:
        if not 2 <= self.n_folds <= MAX_FOLDS:
            raise OptionError(f"the number of folds must be 2 to {MAX_FOLDS}, got {self.n_folds}")
        if self.n_rings < 1:
            raise OptionError(f"scaffolds keep at least 1 ring, got {self.n_rings}")
        if not self.lsh_bits or min(self.lsh_bits) < 0 or len(set(self.lsh_bits)) != len(self.lsh_bits):
            raise OptionError("the hash needs columns of 0 or more, each once")


def fold_scaffold(parsed: Chem.Mol, n_rings: int) -> str:
    """SMILES of the scaffold that decides on the fold; empty for a compound without a ring.

    The Bemis-Murcko scaffold; one of more rings is cut down through its scaffold network (Varin et al. 2011,
    doi:10.1021/ci2000924) to the node with about n_rings rings, chosen by rules like those of the scaffold tree
    (Schuffenhauer et al. 2007, doi:10.1021/ci600338x) as MELLODDY-TUNER 3 orders them.

    Raises:
        CompoundError: The scaffold cannot be cut down.
    """
    murcko = Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(parsed))  # type: ignore[no-untyped-call]
    return _cut_down(str(murcko), n_rings) if murcko else ""


def fold_label(scaffold: str, smiles: str, columns: Columns, settings: FoldSettings) -> str:
    """The text whose keyed hash is the fold; equal texts mean one fold.

    Args:
        scaffold: `fold_scaffold` of the compound.
        smiles: Its standard form.
        columns: Its environments before the key's permutation.
        settings: How.
    """
    match settings.method:
        case FoldMethod.SCAFFOLD:
            if scaffold:
                return f"scaffold {scaffold}"
            return ALL_ACYCLIC if settings.acyclic is AcyclicRule.ONE_FOLD else f"{ALL_ACYCLIC} {smiles}"
        case FoldMethod.LSH:
            return "lsh " + "".join("01"[bit] for bit in np.isin(settings.lsh_bits, columns).astype(int))


def folds_of(labels: list[str], key: PreparationKey, n_folds: int) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """(n_labels,) int8: the fold of each label, each distinct label hashed once."""
    known = {label: key.fold(label, n_folds) for label in set(labels)}
    return np.fromiter((known[label] for label in labels), dtype=np.int8, count=len(labels))


@lru_cache(maxsize=50_000)
def _cut_down(murcko: str, n_rings: int) -> str:
    scaffold = molecule(murcko)
    if rdMolDescriptors.CalcNumRings(scaffold) <= n_rings:
        return murcko
    try:
        network = rdScaffoldNetwork.CreateScaffoldNetwork([scaffold], _network_params())
    except (RuntimeError, ValueError) as error:
        raise CompoundError(f"RDKit cannot cut down the scaffold {murcko}") from error
    nodes = [(text, molecule(text)) for text in map(str, network.nodes)]
    for rule in _rules(n_rings):  # each only on the nodes that are still as good as the best
        scores = [rule(node) for _, node in nodes]
        nodes = [node for node, score in zip(nodes, scores, strict=True) if score == min(scores)]
        if len(nodes) == 1:
            break
    return min(text for text, _ in nodes)


def _rules(n_rings: int) -> tuple[Callable[[Chem.Mol], int], ...]:
    """What makes a node of the network better, the most important first; the smallest number wins."""
    return (
        lambda node: abs(int(rdMolDescriptors.CalcNumRings(node)) - n_rings),
        lambda node: -int(any(len(ring) > 9 for ring in node.GetRingInfo().AtomRings())),
        lambda node: int(rdMolDescriptors.CalcNumRotatableBonds(node, strict=False)),
        lambda node: -int(rdMolDescriptors.CalcNumBridgeheadAtoms(node)),
        lambda node: -int(rdMolDescriptors.CalcNumSpiroAtoms(node)),
        lambda node: -int(any(len(ring) not in (5, 6) for ring in node.GetRingInfo().AtomRings())),
        lambda node: -int(rdMolDescriptors.CalcNumHeterocycles(node)),
        lambda node: int(rdMolDescriptors.CalcNumAromaticRings(node)),
    )


@lru_cache(maxsize=1)
def _network_params() -> rdScaffoldNetwork.ScaffoldNetworkParams:
    params = rdScaffoldNetwork.ScaffoldNetworkParams()
    choices = {
        "flattenIsotopes": True,
        "includeGenericBondScaffolds": False,
        "includeGenericScaffolds": False,
        "includeScaffoldsWithAttachments": False,
        "includeScaffoldsWithoutAttachments": True,
        "pruneBeforeFragmenting": True,
    }
    for name, value in choices.items():
        setattr(params, name, value)
    return params
