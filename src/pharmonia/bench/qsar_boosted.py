"""A baseline without a network: each task of a partner by boosted trees on the partner's own fingerprints."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped]
from sklearn.ensemble import (  # type: ignore[import-untyped]
    GradientBoostingClassifier,
    GradientBoostingRegressor,
)
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pharmonia.data.assays import EXACT
from pharmonia.data.tasks import PreparedTasks, TaskKind

N_COMPONENTS = 64
N_TREES = 50
DEPTH = 4
RATE = 0.15
SHARE = 0.7  # of the compounds that a tree is fitted to

Predicted = npt.NDArray[np.float32]


def boosted_predictions(prepared: PreparedTasks, train_folds: tuple[int, ...], seed: int) -> Predicted:
    """(n_labels,) probabilities or values for all labels of the tasks whose scores count; NaN for the others.

    Friedman 2002 (doi:10.1016/S0167-9473(01)00065-2), stochastic gradient boosting, as scikit-learn has it: 50 trees of
    depth 4, learning rate 0.15, each on 70 % of the compounds and a square root of the features at a split; these are
    64 components of the fingerprints, found on the training compounds alone.
    Bounds are left out of training. One thread: equal seeds give equal bits on one machine.

    Args:
        prepared: The partner's data.
        train_folds: What is learned from.
        seed: Of the decomposition and the trees.
    """
    labels = prepared.labels
    is_train = np.isin(prepared.fold, train_folds)
    predicted = np.full(len(labels), np.nan, dtype=np.float32)
    with threadpool_limits(limits=1):
        features = _components(prepared, is_train, seed)
        for index, task in enumerate(prepared.tasks):
            if task.aggregation_weight == 0:
                continue
            own = np.flatnonzero(labels.task == index)
            train = own[is_train[labels.compound[own]] & (labels.censor[own] == EXACT)]
            x, y = features[labels.compound[train]], labels.value[train]
            asked = features[labels.compound[own]]
            predicted[own] = _fit(task.kind, x, y, asked, seed)
    return predicted


def _fit(kind: TaskKind, x: Predicted, y: Predicted, asked: Predicted, seed: int) -> Predicted:
    """Probabilities or values of the asked compounds, by trees fitted to x and y."""
    if kind is TaskKind.CLASSIFICATION:
        classifier = GradientBoostingClassifier(
            learning_rate=RATE,
            n_estimators=N_TREES,
            max_depth=DEPTH,
            subsample=SHARE,
            max_features="sqrt",
            random_state=seed,
        ).fit(x, y)
        probability: Predicted = classifier.predict_proba(asked)[:, 1].astype(np.float32)
        return probability
    regressor = GradientBoostingRegressor(
        learning_rate=RATE,
        n_estimators=N_TREES,
        max_depth=DEPTH,
        subsample=SHARE,
        max_features="sqrt",
        random_state=seed,
    ).fit(x, y)
    value: Predicted = regressor.predict(asked).astype(np.float32)
    return value


def _components(prepared: PreparedTasks, is_train: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.float32]:
    features = prepared.features
    ones = np.ones(features.indices.size, dtype=np.float32)
    matrix = csr_array((ones, features.indices, features.indptr), shape=(features.n_rows, features.n_columns))
    train = np.flatnonzero(is_train)
    n_there = min(N_COMPONENTS, train.size - 1, features.n_columns)
    found = TruncatedSVD(max(n_there, 1), random_state=seed).fit(matrix[train])
    reduced: npt.NDArray[np.float32] = found.transform(matrix).astype(np.float32)
    return reduced
