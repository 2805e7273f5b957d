"""The plain ways to prepare: molecule by molecule and row by row, data frames included; needs RDKit and pandas.

Run by `benchmarks/prepare.py`, in an interpreter that has pandas. Written from the published rules.
"""

import hashlib
import hmac
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from rdkit import Chem, rdBase
from rdkit.Chem import PandasTools, rdMolDescriptors  # type: ignore[attr-defined]
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.Scaffolds import MurckoScaffold, rdScaffoldNetwork

N_BITS = 32_000
RULES = ("delta", "macrocycle", "rotatable", "bridge", "spiro", "odd_ring", "hetero", "aromatic", "smiles")
ASCENDING = [True, False, True, False, False, False, False, True, True]


def fingerprints(smiles: list[str], secret: bytes) -> list[tuple[str, str]]:
    """Per molecule its permuted environments and their counts as JSON."""
    codes = [int.from_bytes(_hmac(secret, str(i)), "big") % 2**63 for i in range(N_BITS)]
    places = np.array(codes).argsort().argsort()
    made = []
    for text in smiles:
        found = rdMolDescriptors.GetHashedMorganFingerprint(Chem.MolFromSmiles(text), 3, N_BITS).GetNonzeroElements()
        if not (np.sort(places) == np.arange(N_BITS)).all():
            raise SystemExit("the permutation is none")
        columns = np.array([int(places[bit]) for bit in found])
        ones = np.ones(len(found), dtype=np.int64)
        made.append((json.dumps(columns.tolist()), json.dumps(ones.tolist())))
    return made


def folds(smiles: list[str], secret: bytes) -> list[int]:
    """Per molecule the fold of its scaffold, every node of its network in a data frame."""
    made = []
    for text in smiles:
        scaffold = MurckoScaffold.GetScaffoldForMol(Chem.MolFromSmiles(text))  # type: ignore[no-untyped-call]
        murcko = Chem.MolToSmiles(scaffold)
        chosen = _cut_down(murcko) if murcko else "None"
        made.append(int.from_bytes(_hmac(secret, chosen)[:8], "big") * 5 >> 64)
    return made


def _cut_down(murcko: str) -> str:
    parsed = Chem.MolFromSmiles(murcko)
    if rdMolDescriptors.CalcNumRings(parsed) <= 3:
        return murcko
    params = rdScaffoldNetwork.ScaffoldNetworkParams()
    for name in ("includeGenericScaffolds", "includeGenericBondScaffolds", "includeScaffoldsWithAttachments"):
        setattr(params, name, False)
    nodes = rdScaffoldNetwork.CreateScaffoldNetwork([parsed], params).nodes
    frame = pd.DataFrame({"smiles": [str(node) for node in nodes]})
    PandasTools.AddMoleculeColumnToFrame(frame, "smiles", "molecule", includeFingerprints=False)
    molecules = frame["molecule"]
    frame["delta"] = (molecules.apply(rdMolDescriptors.CalcNumRings) - 3).abs()
    frame["macrocycle"] = molecules.apply(lambda one: any(len(ring) > 9 for ring in one.GetRingInfo().AtomRings()))
    frame["rotatable"] = molecules.apply(rdMolDescriptors.CalcNumRotatableBonds, strict=False)
    frame["bridge"] = molecules.apply(rdMolDescriptors.CalcNumBridgeheadAtoms)
    frame["spiro"] = molecules.apply(rdMolDescriptors.CalcNumSpiroAtoms)
    odd = molecules.apply(lambda one: any(len(ring) not in (5, 6) for ring in one.GetRingInfo().AtomRings()))
    frame["odd_ring"] = odd
    frame["hetero"] = molecules.apply(rdMolDescriptors.CalcNumHeterocycles)
    frame["aromatic"] = molecules.apply(rdMolDescriptors.CalcNumAromaticRings)
    return str(frame.sort_values(list(RULES), ascending=ASCENDING).iloc[0]["smiles"])


def standard_forms(smiles: list[str]) -> list[str]:
    """Charge parent, isotopes and stereo off, canonical tautomer, hydrogens and metals off, normal, reionised."""
    tautomers = rdMolStandardize.TautomerEnumerator()
    tautomers.SetMaxTautomers(256)
    tautomers.SetRemoveSp3Stereo(False)
    made = []
    for text in smiles:
        parsed = rdMolStandardize.ChargeParent(Chem.MolFromSmiles(text))
        for atom in parsed.GetAtoms():
            atom.SetIsotope(0)
        Chem.RemoveStereochemistry(parsed)
        parsed = tautomers.Canonicalize(parsed)
        Chem.SanitizeMol(parsed)
        parsed = rdMolStandardize.MetalDisconnector().Disconnect(Chem.RemoveHs(parsed))
        parsed = rdMolStandardize.Reionizer().reionize(rdMolStandardize.Normalizer().normalize(parsed))
        Chem.AssignStereochemistry(parsed, force=True, cleanIt=True)
        made.append(Chem.MolToSmiles(Chem.MolFromSmiles(Chem.MolToSmiles(parsed))))
    return made


def replicates(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per compound and assay: the largest not qualified "<", or the median with the majority's qualifier."""
    return frame.groupby(["assay", "compound"]).apply(_join, include_groups=False).reset_index()


def _join(group: pd.DataFrame) -> pd.Series:
    values, signs = group["value"].to_numpy(), group["qualifier"].to_numpy()
    if group["rule"].iloc[0] == "median":
        counts = Counter(signs.tolist())
        top = [sign for sign in (0, -1, 1) if counts[sign] == max(counts.values())]
        sign = 0 if 0 in top else top[0] if len(top) == 1 else 9
        return pd.Series({"value": float(np.median(values)), "qualifier": float(sign)})
    eligible = np.flatnonzero(signs >= 0) if (signs >= 0).any() else np.arange(signs.size)
    best = eligible[np.argmax(values[eligible])]
    return pd.Series({"value": values[best], "qualifier": float(signs[best])})


def _hmac(secret: bytes, text: str) -> bytes:
    return hmac.new(secret, text.encode(), hashlib.sha256).digest()


def main() -> None:
    """Time each plain way on the given structures and results; print seconds and a sum to compare with."""
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    secret = bytes.fromhex(given["secret"])
    frame = pd.DataFrame(given["results"])
    times: dict[str, float] = {}
    with rdBase.BlockLogs():
        many, n_times = given["smiles"] * given["fingerprint_repeats"], given["n_times"]
        times["fingerprints"] = min(_cpu_s(lambda: fingerprints(many, secret)) for _ in range(n_times))
        times["folds"] = min(_cpu_s(lambda: folds(given["smiles"], secret)) for _ in range(n_times))
    start = time.process_time()
    made = replicates(frame)
    times["replicates"] = time.process_time() - start
    times["sum"] = float(made.loc[made["qualifier"] < 2, "value"].sum())
    start = time.process_time()
    with rdBase.BlockLogs():
        forms = standard_forms(given["raw"])
    times["standardise"] = time.process_time() - start
    print(json.dumps({"times": times, "forms": forms}))


def _cpu_s(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
