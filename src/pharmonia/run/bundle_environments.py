"""Environments of prepared compounds, from the standard forms that were kept beside their columns."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pharmonia.chem.ecfp_matrix import EnvironmentRows
from pharmonia.chem.keyed import PreparationKey
from pharmonia.data.recipe import Recipe
from pharmonia.data.tasks import PreparedTasks
from pharmonia.run.fetch import Progress
from pharmonia.run.kept_forms import kept_forms, made_again
from pharmonia.run.predict import require_key
from pharmonia.run.prepare_cache import StructureCache
from pharmonia.run.prepare_structures import StructurePipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureReader:
    """How prepared compounds are read once more, for their environments.

    Args:
        key: The consortium's.
        cache: File of structures met before.
        n_workers: Processes for structures.
        progress: Told what is being done.
    """

    key: PreparationKey
    cache: Path
    n_workers: int
    progress: Progress

    def environments(self, folder: Path, prepared: PreparedTasks, recipe: Recipe) -> EnvironmentRows | None:
        """As `prepared_environments`.

        Raises:
            InputError: The cache cannot be opened.
            RecipeError: As `prepared_environments`.
            CacheError: The same; or the cache is damaged.
        """
        with (
            closing(StructureCache(self.cache)) as cache,
            StructurePipeline(recipe.profile, cache, self.n_workers, self.progress) as pipeline,
        ):
            return prepared_environments(folder, prepared, recipe, self.key, pipeline)


def prepared_environments(
    folder: Path, prepared: PreparedTasks, recipe: Recipe, key: PreparationKey, pipeline: StructurePipeline
) -> EnvironmentRows | None:
    """Environments of each prepared compound under the key; None where the folder kept no standard forms.

    A row has those of all forms that share it, and none where no compound with a label has it. That the codes are those
    that prediction will make is known from the columns: folded and permuted, they must be the prepared ones.

    Args:
        folder: Of prepared tasks.
        prepared: The tasks in it.
        recipe: Of the folder.
        key: The consortium's.
        pipeline: Under the recipe's profile.

    Raises:
        RecipeError: The key is not the recipe's, or this installation makes other columns than the folder's.
        CacheError: The forms are damaged, or not those of the rows.
        EngineError: Structures ended the processes that read them.
    """
    require_key(recipe, key)
    kept = kept_forms(folder, prepared)
    if kept is None:
        return None
    made = made_again(kept, prepared, pipeline, key, recipe.rdkit)
    return _by_row(made.environments.keyed(key), kept.rows, prepared.n_compounds)


def _by_row(environments: EnvironmentRows, rows: np.ndarray[tuple[int], np.dtype[np.int64]], n: int) -> EnvironmentRows:
    """The codes of all forms of each of n rows, each code once."""
    row = np.repeat(rows, np.diff(environments.indptr)).astype(np.uint64)
    pairs = np.unique(row << np.uint64(32) | environments.codes)
    indptr = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount((pairs >> np.uint64(32)).astype(np.int64), minlength=n), out=indptr[1:])
    return EnvironmentRows(indptr=indptr, codes=(pairs & np.uint64(0xFFFFFFFF)).astype(np.uint32))
