"""Predictors without a neural network: what a comparison should beat before anyone speaks of learning.

The two trivial ones fool people. On KIBA's published fold the mean of the training values has an MSE of 0.680 and the
additive model, which knows nothing of chemistry or of how compound and target fit, a concordance index of 0.781;
boosted trees come to 0.178 and 0.855. docs/scenarios.md has the other protocols.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped]
from sklearn.ensemble import HistGradientBoostingRegressor  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import DataFileError
from pharmonia.chem.families import kmer_profiles
from pharmonia.chem.fingerprints import ecfp4
from pharmonia.chem.graphs import Indices
from pharmonia.data.interactions import Interactions, Pairs

Rows = npt.NDArray[np.integer]

SHRINKAGE = 1.0  # rows of effect 0 that each compound and each target is taken to have on top of its own
FINGERPRINT_COMPONENTS = 64
PROFILE_COMPONENTS = 32
PROFILE_K = 3  # residues per k-mer
N_TREES = 200
N_LEAVES = 511  # of each tree
LEARNING_RATE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdditiveModel:
    """A mean, an effect of each compound and an effect of each target; 0 for those that were not trained on.

    Args:
        mean: Of the training values.
        compound_effect: (n_compounds,) float64.
        target_effect: (n_targets,) float64.
    """

    mean: float
    compound_effect: Vector
    target_effect: Vector

    def __post_init__(self) -> None:
        for name in ("compound_effect", "target_effect"):
            object.__setattr__(self, name, frozen_copy(getattr(self, name)))

    def predict(self, pairs: Pairs) -> Vector:
        """(n_rows,) float64: mean plus the two effects; values of the pairs are not looked at."""
        return self.mean + self.compound_effect[pairs.compound] + self.target_effect[pairs.target]


def fit_mean(interactions: Interactions, train: Rows) -> AdditiveModel:
    """The mean of the training values for every pair.

    Raises:
        DataFileError: No training row.
    """
    values = _training_pairs(interactions, train).value.astype(np.float64)
    return AdditiveModel(
        mean=float(values.mean()),
        compound_effect=np.zeros(interactions.n_compounds),
        target_effect=np.zeros(interactions.n_targets),
    )


def fit_additive(interactions: Interactions, train: Rows) -> AdditiveModel:
    """The shrunken additive model: y = m + a(compound) + b(target), with m the mean of the training values.

    Minimises sum (y - m - a - b)^2 + sum a^2 + sum b^2 exactly: ridge regression, that is, random effects of
    compound and target that vary as much as the noise (Henderson 1975, doi:10.2307/2529430). The compounds are
    eliminated, which leaves one dense system over the targets.

    Raises:
        DataFileError: No training row.
    """
    pairs = _training_pairs(interactions, train)
    values = pairs.value.astype(np.float64)
    mean = float(values.mean())
    shape = (interactions.n_compounds, interactions.n_targets)
    counts = csr_array((np.ones(values.size), (pairs.compound, pairs.target)), shape=shape)
    of_compound = np.bincount(pairs.compound, values - mean, shape[0])
    of_target = np.bincount(pairs.target, values - mean, shape[1])
    n_compound = counts.sum(axis=1) + SHRINKAGE
    per_compound = csr_array(counts.multiply(1 / n_compound[:, None]))
    system = np.diag(counts.sum(axis=0) + SHRINKAGE) - (counts.T @ per_compound).toarray()
    with threadpool_limits(limits=1):  # the last bits depend on the number of threads
        target_effect = np.linalg.solve(system, of_target - per_compound.T @ of_compound)
    compound_effect = (of_compound - counts @ target_effect) / n_compound
    return AdditiveModel(mean=mean, compound_effect=compound_effect, target_effect=target_effect)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoostedModel:
    """Gradient-boosted trees on what the additive model leaves over.

    Args:
        additive: The additive model.
        compound_features: (n_compounds, 64) float32 or fewer columns.
        target_features: (n_targets, 32) float32 or fewer columns.
        trees: Fitted to the residuals of the training rows.
    """

    additive: AdditiveModel
    compound_features: npt.NDArray[np.float32]
    target_features: npt.NDArray[np.float32]
    trees: HistGradientBoostingRegressor

    def __post_init__(self) -> None:
        for name in ("compound_features", "target_features"):
            object.__setattr__(self, name, frozen_copy(getattr(self, name)))

    def predict(self, pairs: Pairs) -> Vector:
        """(n_rows,) float64; values of the pairs are not looked at."""
        rows = np.concatenate((self.compound_features[pairs.compound], self.target_features[pairs.target]), axis=1)
        with threadpool_limits(limits=1):
            residual: Vector = self.trees.predict(rows)
        return self.additive.predict(pairs) + residual


def fit_boosted(interactions: Interactions, train: Rows, seed: int) -> BoostedModel:
    """Gradient-boosted trees over ECFP4 bits and 3-mer profiles, on what the additive model leaves over.

    Friedman 2001 (doi:10.1214/aos/1013203451) as scikit-learn's histogram trees have it: 200 of 511 leaves, learning
    rate 0.1, no early stopping. The 2,048 bits are reduced to 64 components and the 8,000 3-mers to 32 by truncated
    singular value decompositions, both found on the compounds and targets of the training rows alone and then applied
    to all; so are the additive effects. One thread: equal seeds give equal bits on one machine.

    Args:
        interactions: The data set.
        train: Rows to learn from; nothing else of the values is looked at.
        seed: Of the decompositions and the trees.

    Raises:
        DataFileError: No training row.
        CompoundError: A compound is not a molecule.
    """
    pairs = _training_pairs(interactions, train)
    additive = fit_additive(interactions, train)
    with threadpool_limits(limits=1):
        compound_features = _components(
            ecfp4(interactions.smiles).as_csr(), np.unique(pairs.compound), FINGERPRINT_COMPONENTS, seed
        )
        target_features = _components(
            kmer_profiles(interactions.sequences, PROFILE_K), np.unique(pairs.target), PROFILE_COMPONENTS, seed
        )
        rows = np.concatenate((compound_features[pairs.compound], target_features[pairs.target]), axis=1)
        trees = HistGradientBoostingRegressor(
            learning_rate=LEARNING_RATE,
            max_iter=N_TREES,
            max_leaf_nodes=N_LEAVES,
            early_stopping=False,
            random_state=seed,
        )
        trees.fit(rows, pairs.value - additive.predict(pairs))
    return BoostedModel(
        additive=additive, compound_features=compound_features, target_features=target_features, trees=trees
    )


def _training_pairs(interactions: Interactions, train: Rows) -> Pairs:
    if train.size == 0:
        raise DataFileError(f"data set {interactions.name}: a baseline needs at least one training row")
    return interactions.pairs.take(train)


def _components(matrix: csr_array, seen: Indices, n_components: int, seed: int) -> npt.NDArray[np.float32]:
    """(n_things, n_components) float32, or fewer columns: all rows, on the directions of those that were seen."""
    n_there = min(n_components, seen.size, matrix.shape[1])
    found = TruncatedSVD(n_there, random_state=seed).fit(matrix[seen])
    reduced: npt.NDArray[np.float32] = found.transform(matrix).astype(np.float32)
    return reduced
