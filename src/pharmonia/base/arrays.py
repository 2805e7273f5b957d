"""Guards that let frozen types own read-only arrays."""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
ScalarT = TypeVar("ScalarT", bound=np.generic)


def frozen_copy(array: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
    """A read-only, C-contiguous copy, so that nobody can change it behind its owner's back."""
    copy = np.array(array, order="C", copy=True)
    copy.setflags(write=False)
    return copy


def frozen_view(array: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
    """A read-only view, for arrays too large to copy whose maker hands them over for good."""
    view = array.view()
    view.setflags(write=False)
    return view


def stable_unique(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Distinct values in order of first appearance, and for each input the index of its value."""
    sorted_values, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    return sorted_values[order], rank[inverse.reshape(-1)]
