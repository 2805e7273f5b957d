"""A partner's own data at home: written in open formats, named by one digest, read only once they may be.

A folder of interactions holds one `.npy` file for each array and `site-data.json`, with the SHA-256 of each file. The
digest that plans commit to follows from that manifest alone, so that a party knows which data it has, and may be
refused, before it opens any of them. Prepared tasks are a folder of `run.prepare_files`; their digest is over its
manifest and the folds.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pharmonia.base.canonical import Json, digest_json
from pharmonia.base.errors import CacheError, CompoundError, DataFileError, DocumentError, PartitionError
from pharmonia.chem.graphs import MolGraphs
from pharmonia.data.interactions import Pairs
from pharmonia.data.manifest import FileRecord
from pharmonia.data.partner import PartnerDataset
from pharmonia.data.tasks import PreparedTasks
from pharmonia.governance.documents import document_digest, parse, render, require_digest, require_same
from pharmonia.run.documents import read_document
from pharmonia.run.files import cannot_write, write_private, write_whole
from pharmonia.run.keyfiles import read_commitment_key
from pharmonia.run.prepare_files import open_prepared, read_prepared_manifest
from pharmonia.run.site_config import DataKind, DataPlace, SiteConfig

FORMAT, TASKS_FORMAT = "pharmonia/site-data/v1", "pharmonia/site-tasks/v1"
MANIFEST = "site-data.json"
_GRAPHS = {"features": "f4", "atom_type": "i4", "atom_offsets": "i8", "neighbours": "i4", "neighbour_offsets": "i8"}
_TOKENS = {"tokens": "u1", "smiles_tokens": "u1"}
_PAIRS = {"compound": "i4", "target": "i4", "value": "f4"}
_KINDS = {
    **{f"graphs.{name}": kind for name, kind in _GRAPHS.items()},
    **_TOKENS,
    **{f"{part}.{name}": kind for part in ("train", "valid") for name, kind in _PAIRS.items()},
}

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """What data are, as far as one knows without opening them.

    Args:
        digest: Names them, folds and order of rows included; 64 hexadecimal digits.
        recipe: Digest of how they were prepared.
    """

    digest: str
    recipe: str


def write_interactions(folder: Path, dataset: PartnerDataset, recipe: str) -> DataCard:
    """Write a partner's interactions; the manifest last, so that a folder with one is whole.

    Args:
        folder: Where, for its owner alone if it is new; files of the same names are replaced.
        dataset: The data.
        recipe: Digest of how compounds and targets became numbers.

    Raises:
        InputError: The folder cannot be written.
        TermsError: The recipe is no digest.
    """
    require_digest(recipe, "the recipe of a data set")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    records = []
    for name, array in _arrays_of(dataset).items():
        content = _npy(array)
        write_private(folder / f"{name}.npy", content)
        records.append(_record(f"{name}.npy", content))
    write_whole(folder / MANIFEST, render({"format": FORMAT, **_body(recipe, records)}))
    return describe_data(DataPlace(kind=DataKind.INTERACTIONS, folder=folder))


def describe_data(place: DataPlace) -> DataCard:
    """What the data of a folder are, by their manifest alone.

    Raises:
        InputError: There is no manifest.
        DocumentError: The manifest of interactions is damaged.
        CacheError: The manifest of prepared tasks is damaged.
    """
    if place.kind is DataKind.TASKS:
        manifest = read_prepared_manifest(place.folder)
        digest = digest_json(
            {
                "format": TASKS_FORMAT,
                "manifest": hashlib.sha256(manifest.encode()).hexdigest(),
                "train_folds": list(place.train_folds),
                "valid_folds": list(place.valid_folds),
            }
        )
        return DataCard(digest=digest, recipe=manifest.recipe.digest)
    recipe, records = _read_manifest(place.folder)
    return DataCard(digest=document_digest(FORMAT, _body(recipe, records)), recipe=recipe)


def site_commitment(config: SiteConfig, consortium: str) -> str:
    """The partner's commitment to its data: what it hands to whoever writes the plan, and says nothing to anybody.

    Raises:
        KeyFileError: The secret cannot be read.
        PharmoniaError: As `describe_data`.
    """
    return read_commitment_key(config.commitment).commit(consortium, describe_data(config.data).digest)


def read_interactions(place: DataPlace, card: DataCard, partner: str) -> PartnerDataset:
    """The interactions of a folder, if they are those of the card, every byte checked before it is used.

    Args:
        place: Of the data.
        card: What they were when the party was let in.
        partner: Whose they are, for messages.

    Raises:
        CacheError: A file is missing, damaged, or of other data than the card says; names it.
    """
    recipe, records = _read_manifest(place.folder)
    _require_card(DataCard(digest=document_digest(FORMAT, _body(recipe, records)), recipe=recipe), card, place.folder)
    arrays = {record.name.removesuffix(".npy"): _read_array(place.folder, record) for record in records}
    try:
        return _dataset_of(arrays, partner)
    except (KeyError, CompoundError, DataFileError, PartitionError) as error:
        raise CacheError(f"{place.folder} holds arrays that do not fit together ({error}); write it anew") from error


def read_tasks(place: DataPlace, card: DataCard) -> PreparedTasks:
    """The prepared tasks of a folder, if they are those of the card, verified.

    Raises:
        CacheError: As `read_interactions`.
    """
    _require_card(describe_data(place), card, place.folder)
    return open_prepared(place.folder)


def _require_card(found: DataCard, card: DataCard, folder: Path) -> None:
    if found != card:
        raise CacheError(f"{folder} was changed since the party started; start it again, and have the plan name it")


def _arrays_of(dataset: PartnerDataset) -> Arrays:
    arrays: Arrays = {f"graphs.{name}": getattr(dataset.graphs, name) for name in _GRAPHS}
    arrays |= {name: getattr(dataset, name) for name in _TOKENS}
    for part, pairs in (("train", dataset.train), ("valid", dataset.valid)):
        arrays |= {f"{part}.{name}": getattr(pairs, name) for name in _PAIRS}
    return arrays


def _dataset_of(arrays: Arrays, partner: str) -> PartnerDataset:
    dataset = PartnerDataset(
        name=partner,
        graphs=MolGraphs(**{name: arrays[f"graphs.{name}"] for name in _GRAPHS}),
        tokens=arrays["tokens"],
        smiles_tokens=arrays["smiles_tokens"],
        train=_pairs(arrays, "train"),
        valid=_pairs(arrays, "valid"),
    )
    for pairs in (dataset.train, dataset.valid):
        for index, size in ((pairs.compound, dataset.graphs.n_compounds), (pairs.target, dataset.tokens.shape[0])):
            if index.min() < 0 or index.max() >= size:
                raise DataFileError("a row names a compound or target that is not there")
    return dataset


def _pairs(arrays: Arrays, part: str) -> Pairs:
    return Pairs(compound=arrays[f"{part}.compound"], target=arrays[f"{part}.target"], value=arrays[f"{part}.value"])


def _npy(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def _record(name: str, content: bytes) -> FileRecord:
    return FileRecord(name=name, sha256=hashlib.sha256(content).hexdigest(), n_bytes=len(content))


def _body(recipe: str, records: list[FileRecord]) -> dict[str, Json]:
    files: dict[str, Json] = {record.name: {"sha256": record.sha256, "n_bytes": record.n_bytes} for record in records}
    return {"kind": DataKind.INTERACTIONS.value, "recipe": recipe, "files": files}


def _read_manifest(folder: Path) -> tuple[str, list[FileRecord]]:
    path = folder / MANIFEST
    content = read_document(path)
    fields = parse(content, FORMAT, str(path))
    fields.choice("kind", DataKind)
    recipe, files = fields.text("recipe"), fields.inner("files")
    records = []
    for name in files.names():
        one = files.inner(name)
        records.append(FileRecord(name=name, sha256=one.text("sha256"), n_bytes=one.integer("n_bytes")))
    if {record.name for record in records} != {f"{name}.npy" for name in _KINDS}:
        raise DocumentError(f"{path} does not name the arrays of a partner's interactions; write the data anew")
    require_same(content, {"format": FORMAT, **_body(recipe, records)}, str(path))
    return recipe, records


def _read_array(folder: Path, record: FileRecord) -> npt.NDArray[Any]:
    path = folder / record.name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CacheError(f"cannot read {path}: {error.strerror}; write the data anew") from error
    if _record(record.name, content) != record:
        raise CacheError(f"{path} is damaged: its SHA-256 is not {record.sha256}; write the data anew")
    try:
        array: npt.NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CacheError(f"{path} is not an array that NumPy reads: {error}; write the data anew") from error
    kind = np.dtype(_KINDS[record.name.removesuffix(".npy")])
    if array.dtype != kind:
        raise CacheError(f"{path} is of {array.dtype}, not of {kind}; write the data anew")
    return array
