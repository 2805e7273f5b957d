"""Standard forms that a prepared folder kept beside its columns, and the same made of them once more."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.csv as pa_csv
from pyarrow import ArrowException

from pharmonia.base.errors import CacheError, EngineError, RecipeError
from pharmonia.chem.ecfp_matrix import permute_columns
from pharmonia.chem.keyed import PreparationKey
from pharmonia.data.compounds import take_rows
from pharmonia.data.tasks import PreparedTasks
from pharmonia.run.prepare_files import COMPOUND_ROWS
from pharmonia.run.prepare_structures import Featurised, StructurePipeline


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptForms:
    """Standard forms of prepared compounds.

    Args:
        folder: Where they were kept.
        forms: Each once.
        rows: (n_forms,) row of each in the prepared matrix; forms whose columns are the same share one.
    """

    folder: Path
    forms: tuple[str, ...]
    rows: npt.NDArray[np.int64]


def kept_forms(folder: Path, prepared: PreparedTasks) -> KeptForms | None:
    """The forms beside prepared tasks; None where nobody kept any.

    Raises:
        CacheError: They are damaged, or not those of the rows.
    """
    path = folder / COMPOUND_ROWS
    if not path.is_file():
        return None
    try:
        listed = pa_csv.read_csv(path)
        distinct = dict(zip(listed["standard_smiles"].to_pylist(), listed["row"].to_pylist(), strict=True))
        rows = np.array(list(distinct.values()), dtype=np.int64)
    except (OSError, ArrowException, KeyError, TypeError, ValueError) as error:
        raise CacheError(f"{path} is damaged: {error}; prepare again") from error
    if not np.isin(rows, np.arange(prepared.n_compounds)).all() or not np.isin(prepared.labels.compound, rows).all():
        raise CacheError(f"{path} does not have the rows of the prepared data; prepare again")
    return KeptForms(folder=folder, forms=tuple(distinct), rows=rows)


def made_again(
    kept: KeptForms, prepared: PreparedTasks, pipeline: StructurePipeline, key: PreparationKey, rdkit: str
) -> Featurised:
    """What this installation makes of kept forms; folded and permuted, their columns are the prepared ones.

    Args:
        kept: The forms.
        prepared: The tasks in their folder.
        pipeline: Under the profile of the folder's recipe.
        key: The consortium's.
        rdkit: Version of RDKit with which the folder was prepared.

    Raises:
        RecipeError: This installation makes other columns than the folder's.
        EngineError: Structures ended the processes that read them.
    """
    made = pipeline.featurise(list(kept.forms))
    if made.crashed:
        raise EngineError(f"{len(made.crashed)} structures ended their process; see that there is memory and run again")
    found, wanted = permute_columns(made.matrix, key), take_rows(prepared.features, kept.rows)
    if not (np.array_equal(found.indptr, wanted.indptr) and np.array_equal(found.indices, wanted.indices)):
        raise RecipeError(
            f"this installation makes other columns of the standard forms than {kept.folder} has: install "
            f"rdkit=={rdkit}, with which it was prepared"
        )
    return made
