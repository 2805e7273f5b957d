"""How the vectors of a run are laid out, as both sides know it."""

import hashlib

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.learn.contributions import TOTAL_NAMES, Contribution, Values
from pharmonia.learn.learner import Tensors
from pharmonia.secagg.header import Layout

VALIDATION = Layout(names=TOTAL_NAMES, lengths=(1,) * len(TOTAL_NAMES))


def sum_layout(tensors: Tensors) -> Layout:
    """The layout of a sum, from the names and lengths of its tensors."""
    names, lengths = tensors
    return Layout(names=names, lengths=lengths)


_SMALLEST = 2.0**-24
_CHUNK = 1 << 16  # values; what is hashed at once stays in the processor's cache


def magnitude_layout(layout: Layout) -> Layout:
    """The layout of the magnitudes of vectors of a layout: one number a tensor."""
    return Layout(names=tuple(f"log2.{name}" for name in layout.names), lengths=(1,) * len(layout.names))


def magnitudes(contribution: Contribution, layout: Layout) -> Values:
    """(n_tensors,) float32 log2 of the largest |x w| of each tensor, at least -24: what scales are found from."""
    starts = np.cumsum((0, *layout.lengths[:-1]))
    peaks = np.maximum.reduceat(np.abs(contribution.values), starts).astype(np.float64)
    logs: Values = np.log2(np.maximum(peaks * contribution.weight, _SMALLEST)).astype(np.float32)
    return logs


def digest_of(parameters: Vector) -> bytes:
    """32 bytes that name a shared vector, as it is on the wire: SHA-256 of its float32 values as float64."""
    digest = hashlib.sha256()
    for start in range(0, parameters.size, _CHUNK):
        digest.update(parameters[start : start + _CHUNK].astype("<f4").astype("<f8").tobytes())
    return digest.digest()
