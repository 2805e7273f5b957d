"""Guards that let frozen types own read-only arrays."""

from typing import TypeVar

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
