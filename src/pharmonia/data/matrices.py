"""Prepared tasks as named arrays and one manifest, and back; open formats that any NumPy reads."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import CacheError, CompoundError, DataFileError
from pharmonia.chem.ecfp_matrix import CsrMatrix
from pharmonia.data.assays import AssayType
from pharmonia.data.manifest import FileRecord
from pharmonia.data.recipe import Recipe, recipe_from
from pharmonia.data.tasks import Labels, PreparedTasks, Task, TaskKind

FORMAT = "pharmonia prepared tasks"
FORMAT_VERSION = 2  # 1 did not tell auxiliary tasks from those with too few labels to score
ARRAYS = {
    "features.indptr": np.int64,
    "features.indices": np.int32,
    "fold": np.int8,
    "labels.compound": np.int32,
    "labels.task": np.int32,
    "labels.value": np.float32,
    "labels.censor": np.int8,
}

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedManifest:
    """What a folder of prepared tasks holds.

    Args:
        recipe: How they were prepared.
        n_columns: Columns of the features.
        n_compounds: Rows of the features.
        n_labels: Labelled pairs.
        files: Every file beside the manifest.
    """

    recipe: Recipe
    n_columns: int
    n_compounds: int
    n_labels: int
    files: tuple[FileRecord, ...]

    def encode(self) -> bytes:
        """Canonical bytes, their own digest within."""
        body = self._body()
        return canonical_json({**body, "sha256": hashlib.sha256(canonical_json(body)).hexdigest()})

    def _body(self) -> dict[str, Json]:
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "recipe": self.recipe.as_json(),
            "recipe_digest": self.recipe.digest,
            "n_columns": self.n_columns,
            "n_compounds": self.n_compounds,
            "n_labels": self.n_labels,
            "files": [{"name": one.name, "sha256": one.sha256, "n_bytes": one.n_bytes} for one in self.files],
        }


def decode_prepared(content: bytes, where: str) -> PreparedManifest:
    """The manifest in a file's bytes.

    Raises:
        CacheError: They are damaged, or of another format or version.
        RecipeError: Their recipe is none that this program reads.
    """
    try:
        document = json.loads(content)
        body = {name: value for name, value in document.items() if name != "sha256"}
        whole = document["sha256"] == hashlib.sha256(canonical_json(body)).hexdigest()
        kind = (document["format"], document["version"])
        if whole and kind[0] == FORMAT and kind[1] != FORMAT_VERSION:
            raise CacheError(
                f"{where} is of version {kind[1]} of {FORMAT}, not {FORMAT_VERSION}; prepare them again, or run the "
                f"comparison again that made them"
            )
        if not whole or kind != (FORMAT, FORMAT_VERSION):
            raise CacheError(f"{where} is damaged, or no manifest of {FORMAT} of version {FORMAT_VERSION}")
        return PreparedManifest(
            recipe=recipe_from(document["recipe"], where),
            n_columns=document["n_columns"],
            n_compounds=document["n_compounds"],
            n_labels=document["n_labels"],
            files=tuple(FileRecord(**record) for record in document["files"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CacheError(f"{where} is no manifest of {FORMAT}: {error}") from error


def arrays_of(prepared: PreparedTasks) -> dict[str, Array]:
    """The arrays by name, as `ARRAYS` lists them."""
    return {
        "features.indptr": prepared.features.indptr,
        "features.indices": prepared.features.indices,
        "fold": prepared.fold,
        "labels.compound": prepared.labels.compound,
        "labels.task": prepared.labels.task,
        "labels.value": prepared.labels.value,
        "labels.censor": prepared.labels.censor,
    }


def prepared_from(manifest: PreparedManifest, arrays: Mapping[str, Array], tasks: Sequence[Task]) -> PreparedTasks:
    """The prepared tasks of a manifest, its arrays and its tasks.

    Raises:
        CacheError: They do not fit together.
    """
    for name, kind in ARRAYS.items():
        if name not in arrays or arrays[name].dtype != kind:
            raise CacheError(f"the array {name} is missing, or not of {np.dtype(kind).name}")
    try:
        prepared = PreparedTasks(
            recipe_digest=manifest.recipe.digest,
            features=CsrMatrix(
                indptr=arrays["features.indptr"],
                indices=arrays["features.indices"],
                n_columns=manifest.n_columns,
            ),
            fold=arrays["fold"],
            n_folds=manifest.recipe.profile.folds.n_folds,
            tasks=tuple(tasks),
            labels=Labels(
                compound=arrays["labels.compound"],
                task=arrays["labels.task"],
                value=arrays["labels.value"],
                censor=arrays["labels.censor"],
            ),
        )
    except (DataFileError, CompoundError) as error:
        raise CacheError(f"the prepared arrays do not fit together: {error}") from error
    if (prepared.n_compounds, len(prepared.labels)) != (manifest.n_compounds, manifest.n_labels):
        raise CacheError("the prepared arrays are not those that the manifest counts")
    return prepared


def encode_tasks(tasks: Sequence[Task]) -> bytes:
    """The tasks as canonical JSON, in order."""
    return canonical_json([{one.name: getattr(task, one.name) for one in fields(task)} for task in tasks])


def decode_tasks(content: bytes, where: str) -> tuple[Task, ...]:
    """The tasks of `encode_tasks`.

    Raises:
        CacheError: The bytes are damaged.
    """
    try:
        return tuple(
            Task(
                task_id=record["task_id"],
                assay_id=record["assay_id"],
                kind=TaskKind(record["kind"]),
                assay_type=AssayType(record["assay_type"]),
                weight=float(record["weight"]),
                aggregation_weight=float(record["aggregation_weight"]),
                auxiliary=bool(record["auxiliary"]),
                censored_weight=float(record["censored_weight"]),
                catalogue_id=record["catalogue_id"],
            )
            for record in json.loads(content)
        )
    except (ValueError, KeyError, TypeError, DataFileError) as error:
        raise CacheError(f"{where} does not hold tasks: {error}") from error
