"""Values to fixed point in 32-bit words modulo 2^32, and sums of words back to values.

A value x of a partner with weight w becomes q = round(x w / W_max * 2^s) with |q| <= floor((2^31 - 1)/n), so that n of
them never wrap. W_max is a power of two, so w / W_max * 2^s is exact in float32 and only the product is rounded.

Clipping is not linear: two sums of the same values, one of them with clips, differ by what was cut off, which is the
clipping partner's own. Therefore a vector with any element beyond the limit is replaced by noise as a whole, and of a
sum with such a vector only the weights and the count of clipped elements can be used.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy, frozen_view
from pharmonia.base.errors import UpdateError
from pharmonia.secagg.header import MAX_EXPONENT, N_TRAILING, Layout, RoundHeader, Words

Values = npt.NDArray[np.float32] | npt.NDArray[np.float64]
CHUNK = 1 << 16  # elements; 256 KiB of float32
MAX_SUM = 2**31 - 1
HEADROOM_BITS = 6  # a partner's value may be 64 times the last aggregate's largest before it is clipped


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Extent:
    """What encoding learns of a vector in passing.

    Args:
        n_clipped: Elements beyond the clip limit.
        extrema: Least and greatest x w of each chunk, whatever the scale; they tell one update from another. Empty if
            all are zero.
    """

    n_clipped: int
    extrema: bytes


def clip_limit(n: int) -> np.float32:
    """The largest float32 not above floor((2^31 - 1)/n): what one of n partners may contribute to a word."""
    exact = MAX_SUM // n
    limit = np.float32(exact)
    return limit if int(limit) <= exact else np.nextafter(limit, np.float32(0))


def encode_onto(words: Words, values: Values, layout: Layout, header: RoundHeader, weight: int) -> Extent:
    """Add values in fixed point, then weight and clip count, to masked words in place.

    Where any value is beyond the clip limit, uniform noise from the operating system takes the place of all masked
    values, so that the words tell nothing of them, with or without their mask.

    Args:
        words: (length + 2,) of the header.
        values: (length,) float32 or float64; unchanged.
        layout: Of the values, with as many tensors as the header has scale exponents.
        header: Scales and W_max.
        weight: 1 to W_max.

    Raises:
        UpdateError: Wrongly shaped or typed, not finite, or a weight out of range; the words are then spoilt.
    """
    _check(values, layout, header, weight)
    signed = words.view("<i4")
    limit = clip_limit(len(header.contributors))
    scaled, rounded = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.int32)
    n_clipped = 0
    extrema = []
    for start, stop, exponent in _chunks(layout, header):
        chunk, product, whole = values[start:stop], scaled[: stop - start], rounded[: stop - start]
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply(chunk, np.float32(math.ldexp(weight, exponent - header.weight_bits)), out=product)
        low, high = product.min(), product.max()
        unscale = header.weight_bits - exponent
        extrema += [math.ldexp(float(low), unscale), math.ldexp(float(high), unscale)]
        if not (-limit <= low and high <= limit):
            n_clipped += _clip(chunk, product, limit, start)
        np.rint(product, out=product)
        np.copyto(whole, product, casting="unsafe")
        np.add(signed[start:stop], whole, out=signed[start:stop])
    if n_clipped:
        _fill_with_noise(words[:-N_TRAILING])
    words[-2:] += np.array([weight, min(n_clipped, max_clip_count(header))], dtype=words.dtype)
    found = np.array(extrema, dtype="<f8")
    return Extent(n_clipped=n_clipped, extrema=found.tobytes() if found.any() else b"")


def _check(values: Values, layout: Layout, header: RoundHeader, weight: int) -> None:
    if values.shape != (header.length,) or values.dtype not in (np.float32, np.float64):
        raise UpdateError(f"expected {header.length} floats, got {values.dtype} of shape {values.shape}")
    if layout.digest != header.layout_digest or len(layout.lengths) != len(header.exponents):
        raise UpdateError(f"the layout of {len(layout.lengths)} tensors is not the one in the header")
    if not 1 <= weight <= header.max_weight:
        raise UpdateError(f"a weight must be 1 to {header.max_weight}")  # ours is not for a fault to tell


def _chunks(layout: Layout, header: RoundHeader) -> Iterator[tuple[int, int, int]]:
    start = 0
    for length, exponent in zip(layout.lengths, header.exponents, strict=True):
        for first in range(start, start + length, CHUNK):
            yield first, min(first + CHUNK, start + length), exponent
        start += length


def _clip(chunk: Values, product: npt.NDArray[np.float32], limit: np.float32, start: int) -> int:
    bad = np.flatnonzero(~np.isfinite(chunk))
    if bad.size:
        raise UpdateError(f"element {start + bad[0]} is {chunk[bad[0]]}; nothing that is not finite can be summed")
    n_beyond = int(np.count_nonzero(np.abs(product) > limit))
    np.clip(product, -limit, limit, out=product)
    return n_beyond


def _fill_with_noise(words: Words) -> None:
    for start in range(0, words.size, CHUNK):
        chunk = words[start : start + CHUNK]
        chunk[:] = np.frombuffer(os.urandom(chunk.nbytes), dtype=words.dtype)


def max_clip_count(header: RoundHeader) -> int:
    """The clip count at which a partner stops counting, so that the sum of counts never wraps."""
    return int((2**32 - 1) // len(header.contributors))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedSum:
    """What a sum of values tells, and all that the server learns; its values are made when they are asked for.

    Guarantees:
        a_sum_with_clips_is_not_used: Its values are noise; whoever asks for them gets an error.

    Args:
        words: (length,) int32, the sum in fixed point: the round's own total, to which nothing is added any more.
        layout: Of the values.
        header: Of the round.
        total_weight: Sum of w.
        n_clipped: Elements beyond the clip limit, over all contributors (an undercount only past 2^32).
        contributors: Whose sum it is.
    """

    words: npt.NDArray[np.int32] = field(repr=False)
    layout: Layout
    header: RoundHeader
    total_weight: int
    n_clipped: int
    contributors: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", frozen_view(self.words))

    @property
    def values(self) -> Vector:
        """(length,) float64, sum of x w / W_max over the contributors.

        Exact, since a 32-bit integer times a power of two is a float64.

        Raises:
            UpdateError: Elements were clipped. So do `mean` and `peaks`.
        """
        return self._times(1.0)

    def mean(self) -> Vector:
        """(length,) float64, the average of x weighted by w."""
        return self._times(self.header.max_weight / self.total_weight)

    def _require_unclipped(self) -> None:
        if self.n_clipped:
            raise UpdateError(f"{self.n_clipped} elements are beyond the clip limit: this sum is noise; sum coarser")

    def _times(self, factor: float) -> Vector:
        self._require_unclipped()
        values = np.empty(self.header.length, dtype=np.float64)
        for start, stop, exponent in _chunks(self.layout, self.header):
            chunk = values[start:stop]
            np.multiply(self.words[start:stop], math.ldexp(1.0, -exponent), out=chunk)
            np.multiply(chunk, factor, out=chunk)
        return values

    @property
    def peaks(self) -> tuple[float, ...]:
        """The largest magnitude among each tensor's values."""
        self._require_unclipped()
        peaks, start = [], 0
        for length, exponent in zip(self.layout.lengths, self.header.exponents, strict=True):
            words = self.words[start : start + length]
            peaks.append(math.ldexp(max(int(words.max()), -int(words.min())), -exponent))
            start += length
        return tuple(peaks)


def decode_sum(words: Words, layout: Layout, header: RoundHeader, contributors: tuple[str, ...]) -> WeightedSum:
    """The weighted sum in unmasked words, which are not copied.

    Raises:
        UpdateError: The total weight is impossible: masks did not cancel.
    """
    total_weight, n_clipped = (int(word) for word in words[-2:])
    n = len(contributors)
    if not n <= total_weight <= n * header.max_weight or n_clipped > n * header.length:
        raise UpdateError(f"{n} partners cannot weigh {total_weight} and clip {n_clipped}; the masks did not cancel")
    return WeightedSum(
        words=words[:-2].view("<i4"),
        layout=layout,
        header=header,
        total_weight=total_weight,
        n_clipped=n_clipped,
        contributors=contributors,
    )


def error_bound(n: int, exponent: int, magnitude: Vector | float) -> Vector | np.float64:
    """The most by which an unclipped sum can differ from the exact sum of x w / W_max.

    n 2^-(s+1) for rounding to the grid, and 2^-24 of the magnitude for rounding each product to float32.

    Args:
        n: Contributors.
        exponent: s of the tensor.
        magnitude: Sum of |x w / W_max|, which is |sum| where signs agree.
    """
    return n * math.ldexp(1.0, -exponent - 1) + math.ldexp(1.0, -24) * np.asarray(magnitude, dtype=np.float64)


def next_exponents(last: WeightedSum) -> tuple[int, ...]:
    """Scale exponents for the next round from the last aggregate, which all know.

    A tensor's largest value gets 6 bits of headroom below the clip limit; one whose sum is all zero keeps its exponent.

    Raises:
        UpdateError: Elements were clipped: from such a sum nothing follows.
    """
    room = math.log2(float(clip_limit(len(last.contributors)))) - HEADROOM_BITS
    exponents = []
    for peak, before in zip(last.peaks, last.header.exponents, strict=True):
        found = math.floor(room - math.log2(peak)) if peak > 0 else before
        exponents.append(max(-MAX_EXPONENT, min(MAX_EXPONENT, found)))
    return tuple(exponents)


def encode_counts_onto(words: Words, touched: npt.NDArray[np.bool_]) -> None:
    """Add a bitmap of touched rows to masked 16-bit words in place.

    Raises:
        UpdateError: Not a bitmap of as many rows.
    """
    if touched.shape != words.shape or touched.dtype != np.bool_:
        raise UpdateError(f"expected {words.size} booleans, got {touched.dtype} of shape {touched.shape}")
    np.add(words, touched, out=words, casting="unsafe")


def decode_counts(words: Words) -> npt.NDArray[np.uint16]:
    """Row counts in unmasked words."""
    return frozen_copy(words.astype(np.uint16))
