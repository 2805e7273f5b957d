"""Scaffolds that decide on folds: the same at every partner, whatever the rest of a compound."""

from collections.abc import Callable
from functools import lru_cache

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.Scaffolds import MurckoScaffold, rdScaffoldNetwork

from pharmonia.chem.standardise import molecule


def fold_scaffold(parsed: Chem.Mol, n_rings: int) -> str:
    """SMILES, without stereo, of the scaffold that decides on the fold; empty for a compound without a ring.

    The Bemis-Murcko scaffold; one of more rings is cut down through its scaffold network (Varin et al. 2011,
    doi:10.1021/ci2000924) to the node with about n_rings rings, chosen by rules like those of the scaffold tree
    (Schuffenhauer et al. 2007, doi:10.1021/ci600338x) as MELLODDY-TUNER 3 orders them.
    """
    scaffold = MurckoScaffold.GetScaffoldForMol(parsed)  # type: ignore[no-untyped-call]
    murcko = Chem.MolToSmiles(scaffold, isomericSmiles=False)  # mirror images have equal columns, so one fold
    return _cut_down(str(murcko), n_rings) if murcko else ""


def without_stereo(form: str) -> str:
    """SMILES of a standard form without its stereo, by which a compound without a ring finds its fold."""
    return str(Chem.MolToSmiles(molecule(form), isomericSmiles=False))


@lru_cache(maxsize=50_000)
def _cut_down(murcko: str, n_rings: int) -> str:
    scaffold = Chem.MolFromSmiles(murcko)
    if rdMolDescriptors.CalcNumRings(scaffold) <= n_rings:
        return murcko
    try:
        network = rdScaffoldNetwork.CreateScaffoldNetwork([scaffold], _network_params())
    except (RuntimeError, ValueError):  # the same at every partner, so the uncut scaffold serves as well
        return murcko
    nodes = [(text, Chem.MolFromSmiles(text)) for text in map(str, network.nodes)]
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
