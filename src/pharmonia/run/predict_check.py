"""Whether a bundle predicts what the platform predicted, label by label, from the same structures."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pharmonia.base.errors import BundleError, InputError, RecipeError
from pharmonia.data.tasks import PreparedTasks
from pharmonia.evaluate.tasks import Floats
from pharmonia.learn.multitask_data import TaskPlaces, predict_labels
from pharmonia.nn.heads_names import HeadName
from pharmonia.run.bundle_parts import Bundle, head_sizes, network_of
from pharmonia.run.predict import Predictor
from pharmonia.run.prepare_files import open_prepared

TOLERANCE = 1e-5  # absolute, and relative for values beyond 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionCheck:
    """How far a bundle's predictions are from the platform's.

    Args:
        n_labels: Labelled pairs compared.
        largest: The largest difference, as a share of the value where that is beyond 1.
        task_id: Of the pair with it.
        compound: Its row in the prepared matrix.
        n_forms: Standard forms whose columns were computed once more and are the same; 0 where nobody kept forms.
    """

    n_labels: int
    largest: float
    task_id: str
    compound: int
    n_forms: int

    def require(self) -> None:
        """Nothing, if every prediction is the platform's.

        Raises:
            BundleError: One is not; names the pair.
        """
        if not self.largest <= TOLERANCE:  # NaN is none either
            raise BundleError(
                f"the bundle does not predict what the platform did: task {self.task_id!r} differs by "
                f"{self.largest:.3g} at row {self.compound} of the prepared data, at most {TOLERANCE:g} was expected"
            )


def check_predictions(bundle: Bundle, prepared: PreparedTasks, platform: Floats) -> PredictionCheck:
    """The largest difference between the bundle's and the platform's predictions of labelled pairs.

    Args:
        bundle: Whose predictions.
        prepared: The partner's data, as the run had them.
        platform: (n_labels,) what the run's own network predicted, NaN where it did not.

    Raises:
        BundleError: The bundle lacks a task of the data, or the predictions are of other labels.
        RecipeError: The data were prepared under another recipe.
    """
    contents = bundle.contents
    if prepared.recipe_digest != contents.recipe.digest:
        raise RecipeError("the prepared data are of another recipe than the bundle")
    if platform.shape != (len(prepared.labels),):
        raise BundleError(f"expected {len(prepared.labels)} predictions of the platform, got {platform.shape}")
    chosen = np.flatnonzero(~np.isnan(platform))
    if not chosen.size:
        raise BundleError("the platform predicted none of the prepared labels, so nothing can be compared")
    found = predict_labels(network_of(contents, "the bundle"), prepared, _places(bundle, prepared), chosen)
    wanted = platform[chosen].astype(np.float64)
    difference = np.abs(found - wanted) / np.maximum(np.abs(wanted), 1.0)
    worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
    pair = chosen[worst]
    return PredictionCheck(
        n_labels=chosen.size,
        largest=float(difference[worst]),
        task_id=prepared.tasks[int(prepared.labels.task[pair])].task_id,
        compound=int(prepared.labels.compound[pair]),
        n_forms=0,
    )


def check_folder(predictor: Predictor, folder: Path, predictions: Path) -> PredictionCheck:
    """The same for a folder of prepared tasks; where it has standard forms, their columns are computed once more.

    Args:
        predictor: With the bundle and the key.
        folder: What `pharmonia prepare` wrote.
        predictions: .npy of the platform's predictions, one per label.

    Raises:
        InputError: A file cannot be read.
        BundleError: As `check_predictions`.
        RecipeError: The same; or this installation makes other columns of the standard forms.
        CacheError: The standard forms are damaged.
        EngineError: Structures ended the processes that read them.
    """
    prepared = open_prepared(folder)
    if prepared.recipe_digest != predictor.recipe.digest:
        raise RecipeError(f"{folder} was prepared under another recipe than the bundle")
    n_forms = predictor.same_columns(folder, prepared)
    try:
        platform = np.load(predictions, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read the platform's predictions {predictions}: {error}") from error
    found = check_predictions(predictor.bundle, prepared, platform.astype(np.float32, copy=False))
    return replace(found, n_forms=n_forms)


def _places(bundle: Bundle, prepared: PreparedTasks) -> TaskPlaces:
    """Where the bundle's network has the tasks of prepared data, by their identifiers."""
    by_id = {task.task_id: task for task in bundle.contents.tasks}
    lacking = [task.task_id for task in prepared.tasks if task.task_id not in by_id]
    if lacking:
        raise BundleError(f"the bundle has no task {lacking[0]!r}; the prepared data are of another run")
    found = [by_id[task.task_id] for task in prepared.tasks]
    order = list(HeadName)
    return TaskPlaces(
        head=np.array([order.index(task.head) for task in found], dtype=np.int64),
        column=np.array([task.column for task in found], dtype=np.int32),
        sizes=head_sizes(bundle.contents.weights),
    )
