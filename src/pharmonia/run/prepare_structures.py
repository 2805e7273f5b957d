"""Structures through both stages - standard form, then columns and scaffold - cached and side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import TracebackType

import numpy as np

from pharmonia.base.canonical import Json, digest_json
from pharmonia.chem.ecfp import Ecfp
from pharmonia.chem.ecfp_matrix import Codes, CsrMatrix, EcfpSettings, EnvironmentRows
from pharmonia.chem.folds import fold_scaffold
from pharmonia.chem.reference import PreparedStructure, reference_digest
from pharmonia.chem.reference_structures import reference_structures
from pharmonia.chem.standardise import molecule
from pharmonia.chem.standardise_qsar import RDKIT_VERSION, Standardiser
from pharmonia.chem.standardise_qsar_settings import Refusal, StandardSettings
from pharmonia.data.recipe_codec import plain
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.run.fetch import Progress
from pharmonia.run.prepare_cache import StructureCache, structure_key
from pharmonia.run.prepare_pool import StructurePool, Work

_BATCH = 20_000  # texts whose payloads are held at a time
_FORM, _REFUSAL = b"=", b"!"
_CRASHED = _REFUSAL + Refusal.CRASHED.value.encode()  # tried again each time, apart: memory may have been short
_FORMS_VERSION, _FEATURES_VERSION = 2, 4  # raised whenever the code of a stage gives other results


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Featurised:
    """Forms as columns before the key, with their scaffolds.

    Args:
        matrix: One row per form.
        environments: The same before they were folded into columns.
        scaffolds: One per form; empty for a form without a ring.
        crashed: Forms that ended their process, by index; they have neither columns nor scaffold.
    """

    matrix: CsrMatrix
    environments: EnvironmentRows
    scaffolds: tuple[str, ...]
    crashed: tuple[int, ...]


class StructurePipeline:
    """Both stages under one profile; ends its processes when its block ends."""

    def __init__(
        self, profile: PrepareProfile, cache: StructureCache | None, n_workers: int, progress: Progress
    ) -> None:
        self._profile, self._cache, self._progress = profile, cache, progress
        self._pool = StructurePool(n_workers, _CRASHED)
        forms: list[Json] = ["standard", plain(profile.standard), _FORMS_VERSION, RDKIT_VERSION]
        features: list[Json] = [
            "features",
            plain(profile.ecfp),
            profile.folds.n_rings,
            _FEATURES_VERSION,
            RDKIT_VERSION,
        ]
        self._standard_stage, self._features_stage = digest_json(forms), digest_json(features)

    def __enter__(self) -> "StructurePipeline":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    def standardise(self, smiles: Sequence[str], what: str = "standardising structures") -> list[str | Refusal]:
        """Per structure its standard form, or why it has none; each distinct one that ends no process once, ever.

        Raises:
            EngineError: Worker processes cannot start.
        """
        work = partial(_standardise, self._profile.standard)
        found: list[str | Refusal] = []
        for payloads in self._batches(self._standard_stage, work, smiles, what):
            found.extend(_form(payload) for payload in payloads)
        return found

    def featurise(self, forms: Sequence[str], what: str = "computing fingerprints and scaffolds") -> Featurised:
        """Environments, columns and scaffold of standard forms."""
        settings = self._profile.ecfp
        work = partial(_featurise, settings, self._profile.folds.n_rings)
        scaffolds: list[str] = []
        parts: list[Codes] = [np.zeros(0, dtype=np.uint32)]
        lengths: list[int] = [0]
        crashed: list[int] = []
        for payloads in self._batches(self._features_stage, work, forms, what):
            batch = [_features(payload) for payload in payloads]
            crashed.extend(len(scaffolds) + i for i, payload in enumerate(payloads) if payload[:1] == _REFUSAL)
            scaffolds.extend(scaffold for scaffold, _ in batch)
            lengths.extend(codes.size for _, codes in batch)
            parts.append(np.concatenate([codes for _, codes in batch]))
        found = EnvironmentRows(indptr=np.cumsum(lengths, dtype=np.int64), codes=np.concatenate(parts))
        return Featurised(
            matrix=found.folded(settings.n_bits),
            environments=found,
            scaffolds=tuple(scaffolds),
            crashed=tuple(crashed),
        )

    def reference(self) -> str:
        """Digest of what this installation makes of the reference structures, under this profile."""
        what = "checking the installation on reference structures"
        forms = self.standardise(reference_structures(), what)
        good = [form for form in forms if not isinstance(form, Refusal)]
        made = self.featurise(good, what)
        rows = iter(range(len(good)))
        return reference_digest(_prepared(form, rows, made) for form in forms)

    def _batches(self, stage: str, work: Work, texts: Sequence[str], what: str) -> Iterator[list[bytes]]:
        n_done = 0
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            keys = [structure_key(stage, text) for text in batch]
            kept = self._cache.find(keys) if self._cache else {}
            known = {key: payload for key, payload in kept.items() if payload != _CRASHED}
            missing = [index for index, key in enumerate(keys) if key not in kept]
            crashed = [index for index, key in enumerate(keys) if key in kept and key not in known]
            n_done += len(batch) - len(missing) - len(crashed)
            self._progress(what, n_done, len(texts))
            for indices, made_by in ((missing, self._pool.map), (crashed, self._pool.alone)):
                for first, payloads in made_by(work, [batch[index] for index in indices]):
                    places = indices[first : first + len(payloads)]
                    made = [(keys[index], payload) for index, payload in zip(places, payloads, strict=True)]
                    if self._cache:
                        self._cache.keep(made)
                    known.update(made)
                    n_done += len(payloads)
                    self._progress(what, n_done, len(texts))
            yield [known[key] for key in keys]


def _prepared(form: str | Refusal, rows: Iterator[int], made: Featurised) -> PreparedStructure:
    if isinstance(form, Refusal):
        return PreparedStructure(smiles=form.value, scaffold="", columns=np.zeros(0, dtype=np.int32))
    row = next(rows)
    return PreparedStructure(smiles=form, scaffold=made.scaffolds[row], columns=made.matrix.row(row))


def _standardise(settings: StandardSettings, smiles: Sequence[str]) -> list[bytes]:
    standardiser = _standardiser(settings)
    forms = [standardiser.standardise(text) for text in smiles]
    return [_REFUSAL + form.value.encode() if isinstance(form, Refusal) else _FORM + form.encode() for form in forms]


def _form(payload: bytes) -> str | Refusal:
    text = payload[1:].decode()
    return Refusal(text) if payload[:1] == _REFUSAL else text


def _featurise(settings: EcfpSettings, n_rings: int, forms: Sequence[str]) -> list[bytes]:
    ecfp = _ecfp(settings)
    payloads = []
    for form in forms:
        parsed = molecule(form)
        codes = ecfp.environments(parsed).astype("<u4")
        payloads.append(_FORM + fold_scaffold(parsed, n_rings).encode() + b"\x00" + codes.tobytes())
    return payloads


def _features(payload: bytes) -> tuple[str, Codes]:
    if payload[:1] == _REFUSAL:
        return "", np.zeros(0, dtype=np.uint32)
    scaffold, _, codes = payload[1:].partition(b"\x00")
    return scaffold.decode(), np.frombuffer(codes, dtype="<u4").astype(np.uint32)


@lru_cache(maxsize=2)
def _standardiser(settings: StandardSettings) -> Standardiser:
    return Standardiser(settings)


@lru_cache(maxsize=2)
def _ecfp(settings: EcfpSettings) -> Ecfp:
    return Ecfp(settings)
