"""A baseline without a network: each task of a partner by boosted trees on the partner's own fingerprints."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped]
from sklearn.ensemble import (  # type: ignore[import-untyped]
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pharmonia.data.assays import EXACT
from pharmonia.data.tasks import PreparedTasks, TaskKind

N_COMPONENTS = 64
N_TREES = 100
N_LEAVES = 15
MIN_LEAF = 5
RATE = 0.1

Predicted = npt.NDArray[np.float32]


def boosted_predictions(prepared: PreparedTasks, train_folds: tuple[int, ...], seed: int) -> Predicted:
    """(n_labels,) probabilities or values for all labels of the tasks whose scores count; NaN for the others.

    Friedman 2001 (doi:10.1214/aos/1013203451) as scikit-learn's histogram trees have it: 100 trees of 15 leaves,
    learning rate 0.1, no early stopping, on 64 components of the fingerprints found on the training compounds alone.
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
            options = {
                "learning_rate": RATE, "max_iter": N_TREES, "max_leaf_nodes": N_LEAVES, "min_samples_leaf": MIN_LEAF,
                "early_stopping": False, "random_state": seed,
            }  # fmt: skip
            if task.kind is TaskKind.CLASSIFICATION:
                trees = HistGradientBoostingClassifier(**options).fit(x, y)
                predicted[own] = trees.predict_proba(asked)[:, 1]
            else:
                predicted[own] = HistGradientBoostingRegressor(**options).fit(x, y).predict(asked)
    return predicted


def _components(prepared: PreparedTasks, is_train: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.float32]:
    features = prepared.features
    ones = np.ones(features.indices.size, dtype=np.float32)
    matrix = csr_array((ones, features.indices, features.indptr), shape=(features.n_rows, features.n_columns))
    train = np.flatnonzero(is_train)
    n_there = min(N_COMPONENTS, train.size - 1, features.n_columns)
    found = TruncatedSVD(max(n_there, 1), random_state=seed).fit(matrix[train])
    reduced: npt.NDArray[np.float32] = found.transform(matrix).astype(np.float32)
    return reduced
