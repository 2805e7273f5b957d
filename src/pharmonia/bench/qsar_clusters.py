"""Scaffolds that are alike, so that partners can have chemistries of their own."""

import numpy as np
from scipy.sparse import csr_array
from sklearn.cluster import KMeans  # type: ignore[import-untyped]
from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pharmonia.chem.ecfp_matrix import CsrMatrix
from pharmonia.data.assays import Index

N_CLUSTERS = 100
N_COMPONENTS = 32
SEED = 0  # clusters are part of the data set, whatever a comparison's seed


def scaffold_clusters(features: CsrMatrix, scaffold: Index) -> Index:
    """(n_compounds,) int32, equal for compounds of one cluster of scaffolds, counted from 0.

    k-means (Lloyd 1982) of 100 clusters over the scaffolds' mean fingerprints, cut down to 32 components; scaffolds
    are never divided. Fewer clusters where there are fewer scaffolds.

    Args:
        features: A row per compound.
        scaffold: (n_compounds,) int32, counted from 0 without gaps.
    """
    n_scaffolds = int(scaffold.max()) + 1
    ones = np.ones(features.indices.size)
    compounds = csr_array((ones, features.indices, features.indptr), shape=(features.n_rows, features.n_columns))
    member = csr_array(
        (np.ones(scaffold.size), (scaffold, np.arange(scaffold.size))), shape=(n_scaffolds, scaffold.size)
    )
    means = csr_array((member @ compounds).multiply(1 / np.bincount(scaffold)[:, None]))
    with threadpool_limits(limits=1):  # the last bits depend on the number of threads
        n_components = min(N_COMPONENTS, n_scaffolds, features.n_columns)
        places = TruncatedSVD(n_components, random_state=SEED).fit_transform(means)
        found = KMeans(min(N_CLUSTERS, n_scaffolds), n_init=1, random_state=SEED).fit_predict(places)
    clusters: Index = found.astype(np.int32)[scaffold]
    return clusters
