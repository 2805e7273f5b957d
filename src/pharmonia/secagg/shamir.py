"""A 32-byte secret as n shares of which any t give it back (Shamir 1979), over the integers modulo 2^256 + 297."""

import secrets
from collections.abc import Mapping

from pharmonia.base.errors import MessageError

PRIME = 2**256 + 297  # the smallest prime above every 32-byte secret
SECRET_BYTES = 32
SHARE_BYTES = 33


def split(secret: bytes, threshold: int, n_shares: int) -> tuple[bytes, ...]:
    """Shares at the points 1 to n, 33 bytes each, little-endian.

    Coefficients come from the operating system.

    Guarantees:
        fewer_shares_than_the_threshold_say_nothing: Every secret is equally likely given t - 1 shares.
    """
    value = int.from_bytes(secret, "little")
    coefficients = [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    return tuple(_evaluate([*coefficients, value], x).to_bytes(SHARE_BYTES, "little") for x in range(1, n_shares + 1))


def _evaluate(coefficients: list[int], x: int) -> int:
    """Highest power first (Horner)."""
    value = 0
    for coefficient in coefficients:
        value = (value * x + coefficient) % PRIME
    return value


def lagrange_weights(points: tuple[int, ...]) -> tuple[int, ...]:
    """What each share counts for in the secret; the same for all secrets shared at these points."""
    weights = []
    for x in points:
        numerator = denominator = 1
        for other in points:
            if other != x:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - x) % PRIME
        weights.append(numerator * pow(denominator, -1, PRIME) % PRIME)
    return tuple(weights)


def combine(shares: Mapping[int, bytes], weights: tuple[int, ...]) -> bytes:
    """The secret from exactly t shares by point, and `lagrange_weights` of these points in the same order.

    Raises:
        MessageError: The shares do not belong to one 32-byte secret.
    """
    numbers = [int.from_bytes(share, "little") for share in shares.values()]
    value = sum(number * weight for number, weight in zip(numbers, weights, strict=True)) % PRIME
    if value >= 2 ** (8 * SECRET_BYTES):
        raise MessageError("the shares do not belong to one secret")
    return value.to_bytes(SECRET_BYTES, "little")
