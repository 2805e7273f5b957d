"""Structures as assay tables hold them to one standard form: parent, neutral, one tautomer.

A far slower matter than `pharmonia.chem.standardise`, which identifies compounds of interaction benchmarks. Each
structure is standardised by itself: the result never depends on what else is in a file.
"""

from rdkit import Chem, __version__, rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize

from pharmonia.chem.standardise import MAX_DEGREE
from pharmonia.chem.standardise_qsar_settings import MAX_SMILES_LENGTH, REFUSAL_TEXTS, Refusal, StandardSettings

RDKIT_VERSION = str(__version__)


class StructureRefusedError(Exception):
    """A structure has no standard form; carries the reason from `Standardiser` to its caller."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(REFUSAL_TEXTS[refusal])
        self.refusal = refusal


class Standardiser:
    """Standard forms under one set of settings; holds RDKit's tools, so make one per process."""

    def __init__(self, settings: StandardSettings) -> None:
        self._settings = settings
        self._tautomers = rdMolStandardize.TautomerEnumerator()
        self._tautomers.SetMaxTautomers(settings.max_tautomers)
        self._tautomers.SetRemoveSp3Stereo(False)
        self._metals = rdMolStandardize.MetalDisconnector()
        self._normalizer = rdMolStandardize.Normalizer()
        self._reionizer = rdMolStandardize.Reionizer()

    def standardise(self, smiles: str) -> str | Refusal:
        """RDKit's SMILES of the standard form, or why there is none.

        The steps of MELLODDY-TUNER 3 (Heyndrickx et al. 2023, doi:10.1021/acs.jcim.3c00799): charge parent, isotopes
        and stereo dropped, canonical tautomer, hydrogens and metals off, normalised, reionised, through SMILES once
        more. Refused beforehand: open ends, too many atoms, mixtures.
        """
        with rdBase.BlockLogs():
            try:
                return self._standard(self._read(smiles))
            except StructureRefusedError as refused:
                return refused.refusal
            except (RuntimeError, ValueError):  # what RDKit raises from C++, its MolSanitizeException among them
                return Refusal.FAILED

    def _read(self, smiles: str) -> Chem.Mol:
        text = smiles.strip()
        if not text:
            raise StructureRefusedError(Refusal.EMPTY)
        if len(text) > MAX_SMILES_LENGTH:
            raise StructureRefusedError(Refusal.TOO_LONG)
        if len(text.split()) > 1:
            raise StructureRefusedError(Refusal.SPACE)
        if not (text.isascii() and text.isprintable()):  # RDKit would take the rest for a name
            raise StructureRefusedError(Refusal.UNREADABLE)
        parsed = Chem.MolFromSmiles(text)
        if parsed is None:
            raise StructureRefusedError(Refusal.UNREADABLE)
        if parsed.GetNumAtoms() == 0:
            raise StructureRefusedError(Refusal.EMPTY)
        if any(atom.GetAtomicNum() == 0 for atom in parsed.GetAtoms()):
            raise StructureRefusedError(Refusal.POLYMER)
        if parsed.GetNumAtoms() >= self._settings.max_atoms:
            raise StructureRefusedError(Refusal.TOO_LARGE)
        if "." in text and self._is_mixture(parsed):
            raise StructureRefusedError(Refusal.MIXTURE)
        return parsed

    def _is_mixture(self, parsed: Chem.Mol) -> bool:
        large = {
            Chem.MolToSmiles(rdMolStandardize.ChargeParent(part), isomericSmiles=False)
            for part in Chem.GetMolFrags(parsed, asMols=True)
            if part.GetNumAtoms() >= self._settings.mixture_atoms
            and any(atom.GetAtomicNum() == 6 for atom in part.GetAtoms())
        }
        return len(large) > 1

    def _standard(self, parsed: Chem.Mol) -> str:
        parent = rdMolStandardize.ChargeParent(parsed)
        for atom in parent.GetAtoms():
            atom.SetIsotope(0)
        if not self._settings.keep_stereo:
            Chem.RemoveStereochemistry(parent)
        tautomer = self._tautomers.Canonicalize(parent)
        Chem.SanitizeMol(tautomer)
        clean = self._metals.Disconnect(Chem.RemoveHs(tautomer))
        clean = self._reionizer.reionize(self._normalizer.normalize(clean))
        Chem.AssignStereochemistry(clean, force=True, cleanIt=True)
        again = Chem.MolFromSmiles(Chem.MolToSmiles(clean))
        if again is None or any(atom.GetDegree() > MAX_DEGREE for atom in again.GetAtoms()):
            raise StructureRefusedError(Refusal.FAILED)
        return str(Chem.MolToSmiles(again))
