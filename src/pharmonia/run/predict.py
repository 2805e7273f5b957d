"""Predictions of a bundle: structures through the recipe's own pipeline, then network, sets and intervals."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import ScalarT, Vector, frozen_view
from pharmonia.base.errors import MetricError, RecipeError
from pharmonia.chem.ecfp_matrix import CsrMatrix, EnvironmentRows, permute_columns
from pharmonia.chem.keyed import PreparationKey
from pharmonia.chem.standardise_qsar import RDKIT_VERSION
from pharmonia.chem.standardise_qsar_settings import REFUSAL_TEXTS, Refusal
from pharmonia.data.catalogue import unknown_name
from pharmonia.data.recipe import Recipe
from pharmonia.data.tasks import PreparedTasks, TaskKind
from pharmonia.nn.sparse import BitRows
from pharmonia.run.bundle import read_bundle
from pharmonia.run.bundle_parts import Bundle, network_of
from pharmonia.run.bundle_tasks import BundleTask
from pharmonia.run.fetch import Progress, no_progress
from pharmonia.run.kept_forms import kept_forms, made_again
from pharmonia.run.predict_domain import DomainState
from pharmonia.run.prepare_cache import StructureCache
from pharmonia.run.prepare_structures import Featurised, StructurePipeline

Table = npt.NDArray[np.float64]
SETS = ("none", "inactive", "active", "both")  # what `PredictionTable.sets` numbers
NO_SET = -1  # of a value, or of a structure that was turned away

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictionTable:
    """What a bundle says of compounds, in their order; NaN where a structure was turned away, or a task has no such.

    Args:
        tasks: The columns.
        error_rate: Of sets and intervals.
        forms: Standard form of each compound, or why it has none.
        predicted: (n_compounds, n_tasks) probability of being active, or value in the task's unit.
        lower: Of the interval, where the task is regression; infinite where calibration compounds were too few.
        upper: The same.
        p_inactive: P-value of being inactive, where the task is classification.
        p_active: The same of being active.
        in_domain: Whether the compound is like the calibration compounds at this error rate and the set is one class,
            or the interval finite; False throughout where compounds are not judged.
        novelty: (n_compounds,) share of the compound's environments that no training compound has; NaN where the
            domain is not known.
        domain_p: (n_compounds,) its p-value; foreign compounds have small ones. NaN as `novelty`.
        domain: Whether compounds are judged.
    """

    tasks: tuple[BundleTask, ...]
    error_rate: float
    forms: tuple[str | Refusal, ...]
    predicted: npt.NDArray[np.float32]
    lower: Table
    upper: Table
    p_inactive: Table
    p_active: Table
    in_domain: npt.NDArray[np.bool_]
    novelty: Vector
    domain_p: Vector
    domain: DomainState

    def __post_init__(self) -> None:
        for field in fields(self):
            array = getattr(self, field.name)
            if isinstance(array, np.ndarray):
                if array.shape[0] != len(self.forms) or array.shape[1:] not in {(), (len(self.tasks),)}:
                    raise MetricError(f"{field.name} is of {array.shape}, not of {len(self.forms)} compounds")
                object.__setattr__(self, field.name, frozen_view(array))

    def __len__(self) -> int:
        """Number of compounds."""
        return len(self.forms)

    @property
    def sets(self) -> npt.NDArray[np.int8]:
        """(n_compounds, n_tasks) which label set each is: index in `SETS`, or `NO_SET`."""
        codes = (self.p_inactive > self.error_rate) + 2 * (self.p_active > self.error_rate)
        return np.where(np.isnan(self.p_active), NO_SET, codes).astype(np.int8)

    def reason(self, compound: int) -> str:
        """Why a compound has no predictions, in words; empty where it has."""
        form = self.forms[compound]
        return REFUSAL_TEXTS[form] if isinstance(form, Refusal) else ""


class Predictor:
    """A bundle ready to predict; ends its processes and closes its cache when its block ends."""

    def __init__(self, bundle: Bundle, pipeline: StructurePipeline, key: PreparationKey, name: str) -> None:
        """Take a bundle and a pipeline under its recipe's profile.

        Raises:
            RecipeError: The key is not the recipe's, or this installation makes other structures than the recipe's.
            BundleError: The network's tensors are not those that it needs.
        """
        require_key(bundle.contents.recipe, key)
        require_chemistry(bundle.contents.recipe, pipeline.reference())
        self.bundle = bundle
        self._pipeline, self._key = pipeline, key
        self._network = network_of(bundle.contents, name)
        self._resources = ExitStack()

    @classmethod
    def open(
        cls,
        path: Path,
        key: PreparationKey,
        *,
        cache: Path | None = None,
        n_workers: int = 1,
        progress: Progress = no_progress,
    ) -> Self:
        """The predictor of a bundle on disk.

        Args:
            path: A folder or .zip.
            key: The consortium's.
            cache: File of structures met before; None to compute all.
            n_workers: Processes for structures.
            progress: Told what is being done.

        Raises:
            InputError: There is no bundle, or the cache cannot be opened.
            BundleError: A file of it is damaged.
            RecipeError: As the constructor.
        """
        bundle = read_bundle(path)
        profile = bundle.contents.recipe.profile
        require_key(bundle.contents.recipe, key)  # before the slow check of the installation
        with ExitStack() as resources:
            structures = StructureCache(cache) if cache else None
            if structures is not None:
                resources.callback(structures.close)
            pipeline = resources.enter_context(StructurePipeline(profile, structures, n_workers, progress))
            made = cls(bundle, pipeline, key, str(path))
            made._resources = resources.pop_all()
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End processes and close the cache."""
        self._resources.close()

    @property
    def recipe(self) -> Recipe:
        """The recipe that compounds are read under."""
        return self.bundle.contents.recipe

    def tasks(self, names: Sequence[str] = ()) -> tuple[BundleTask, ...]:
        """The tasks of these identifiers, or of these assays, in the bundle's order; every task where none is named.

        Raises:
            UnknownNameError: Neither a task nor an assay.
        """
        every = self.bundle.contents.tasks
        known = {name for task in every for name in (task.task_id, task.assay_id)}
        for name in names:
            if name not in known:
                raise unknown_name("task or assay of this bundle", name, known)
        return tuple(task for task in every if not names or task.task_id in names or task.assay_id in names)

    def predict(self, smiles: Sequence[str], *, error_rate: float = 0.2, tasks: Sequence[str] = ()) -> PredictionTable:
        """Predictions of compounds, one row each, in their order.

        Args:
            smiles: As anybody wrote them; what cannot be read has its reason in `forms`.
            error_rate: How often sets and intervals may miss.
            tasks: As of `tasks`.

        Raises:
            MetricError: An error rate not between 0 and 1.
            UnknownNameError: Neither a task nor an assay.
        """
        distinct = {text: number for number, text in enumerate(dict.fromkeys(smiles))}
        standard = self._pipeline.standardise(list(distinct))
        forms = list(dict.fromkeys(form for form in standard if not isinstance(form, Refusal)))
        made = self._pipeline.featurise(forms)
        lost = {forms[index] for index in made.crashed}
        row_of = {form: row for row, form in enumerate(forms)}
        found = [Refusal.CRASHED if form in lost else form for form in standard]
        of_compound = tuple(found[distinct[text]] for text in smiles)
        rows = np.array([-1 if isinstance(form, Refusal) else row_of[form] for form in of_compound], dtype=np.int64)
        return self._table(self.tasks(tasks), error_rate, of_compound, made, rows)

    def domain_state(self, error_rate: float) -> DomainState:
        """Whether compounds are judged at this error rate, and why not."""
        domain = self.bundle.contents.domain
        if domain is None:
            return DomainState.UNKNOWN
        return DomainState.JUDGED if domain.can_reject(error_rate) else DomainState.TOO_FEW

    def same_columns(self, folder: Path, prepared: PreparedTasks) -> int:
        """How many standard forms a prepared folder kept; their columns are those that this installation makes.

        Raises:
            CacheError: As `kept_forms`.
            RecipeError: As `made_again`.
            EngineError: The same.
        """
        kept = kept_forms(folder, prepared)
        if kept is None:
            return 0
        made_again(kept, prepared, self._pipeline, self._key, self.recipe.rdkit)
        return len(kept.forms)

    def _table(
        self,
        tasks: tuple[BundleTask, ...],
        error_rate: float,
        forms: tuple[str | Refusal, ...],
        made: Featurised,
        rows: Indices,
    ) -> PredictionTable:
        """Predictions of distinct compounds, brought to the rows that ask for them."""
        contents = self.bundle.contents
        numbers = {task.task_id: number for number, task in enumerate(contents.tasks)}
        chosen = np.array([numbers[task.task_id] for task in tasks], dtype=np.int32)
        is_class = np.array([task.kind is TaskKind.CLASSIFICATION for task in tasks], dtype=np.bool_)
        predicted = self._predicted(tasks, permute_columns(made.matrix, self._key))
        p_values = np.full((2, *predicted.shape), np.nan)
        of_class = predicted[:, is_class]
        found = contents.classification.p_values(np.tile(chosen[is_class], len(predicted)), of_class.reshape(-1))
        p_values[:, :, is_class] = found.T.reshape(2, *of_class.shape)
        half = np.where(is_class, np.nan, contents.regression.half_width(error_rate)[chosen])
        lower, upper = predicted.astype(np.float64) - half, predicted.astype(np.float64) + half
        novelty, domain_p = self._novelty(made.environments)
        state = self.domain_state(error_rate)
        one_class = (p_values > error_rate).sum(axis=0) == 1
        is_known = (domain_p > error_rate) & (state is DomainState.JUDGED)  # NaN compares false
        in_domain = is_known[:, None] & np.where(is_class, one_class, np.isfinite(half))
        return PredictionTable(
            tasks=tasks,
            error_rate=error_rate,
            forms=forms,
            predicted=_spread(predicted, rows, np.float32(np.nan)),
            lower=_spread(lower, rows, np.float64(np.nan)),
            upper=_spread(upper, rows, np.float64(np.nan)),
            p_inactive=_spread(p_values[0], rows, np.float64(np.nan)),
            p_active=_spread(p_values[1], rows, np.float64(np.nan)),
            in_domain=_spread(in_domain, rows, np.False_),
            novelty=_spread(novelty, rows, np.float64(np.nan)),
            domain_p=_spread(domain_p, rows, np.float64(np.nan)),
            domain=state,
        )

    def _novelty(self, environments: EnvironmentRows) -> tuple[Vector, Vector]:
        """(n_rows,) novelties and their p-values; NaN where the domain is not known."""
        domain = self.bundle.contents.domain
        if domain is None:
            nothing = np.full(environments.n_rows, np.nan)
            return nothing, nothing
        novelty = domain.novelty_of(environments.keyed(self._key))
        return novelty, domain.p_values(novelty)

    def _predicted(self, tasks: tuple[BundleTask, ...], features: CsrMatrix) -> npt.NDArray[np.float32]:
        """(n_rows, n_tasks) of the network."""
        bits = BitRows(indptr=features.indptr, indices=features.indices, n_columns=features.n_columns)
        result = np.empty((len(bits), len(tasks)), dtype=np.float32)
        for head in {task.head for task in tasks}:
            mine = [number for number, task in enumerate(tasks) if task.head is head]
            result[:, mine] = self._network.predict_table(bits, head)[:, [tasks[number].column for number in mine]]
        return result


def require_key(recipe: Recipe, key: PreparationKey) -> None:
    """Nothing, if the key is the one that a recipe commits to.

    Raises:
        RecipeError: It is another; its columns would mean nothing to the network.
    """
    if key.commitment() != recipe.key_commitment:
        raise RecipeError("the model was trained under another preparation key: name the key file of its consortium")


def require_chemistry(recipe: Recipe, reference: str) -> None:
    """Nothing, if this installation makes of the reference structures what the recipe's did, whatever its version.

    Training asks for the recipe's very version of RDKit, as partners start together; a bundle is used for years, so
    here only what the version makes of some 2,800 tricky structures counts.

    Raises:
        RecipeError: It makes others; names both versions.
    """
    if reference != recipe.reference:
        remedy = f"install rdkit=={recipe.rdkit}" if recipe.rdkit != RDKIT_VERSION else "compare the installations"
        raise RecipeError(
            f"this installation (RDKit {RDKIT_VERSION}) makes other compounds of the reference structures than the one "
            f"that the model was trained with (RDKit {recipe.rdkit}): {remedy}"
        )


def _spread(values: npt.NDArray[ScalarT], rows: Indices, nothing: ScalarT) -> npt.NDArray[ScalarT]:
    """Values of distinct compounds by row; nothing for rows of -1."""
    last = np.full((1, *values.shape[1:]), nothing, dtype=values.dtype)
    return np.concatenate([values, last])[rows]
