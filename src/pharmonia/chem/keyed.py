"""The key that a consortium shares for preparing data: a permutation of fingerprint bits, and folds, under it.

Everyone with the key gets the same columns and folds for the same structures; without it, columns cannot be named
and folds cannot be foretold. Whoever runs the sums must not have it.
"""

import hmac
import secrets
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_view
from pharmonia.base.errors import OptionError

KEY_BYTES = 32
_COMMITMENT = b"pharmonia preparation key commitment v1"
_FOLD = b"pharmonia fold v1\x00"
_ENVIRONMENT = b"pharmonia environment v1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationKey:
    """A consortium's secret for preparing data; it never prints itself.

    Args:
        secret: 32 bytes from a secure random generator.

    Raises:
        OptionError: Not 32 bytes.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise OptionError(f"a preparation key has {KEY_BYTES} bytes, got {len(self.secret)}")

    @staticmethod
    def generate() -> "PreparationKey":
        """A fresh secret from the operating system's randomness."""
        return PreparationKey(secret=secrets.token_bytes(KEY_BYTES))

    def commitment(self) -> str:
        """64 hexadecimal digits that two partners compare to know that they have one key, and that tell nothing else.

        Guarantees:
            equal_commitments_mean_equal_keys: HMAC-SHA256 of a fixed text under the key.
        """
        return self._hmac(_COMMITMENT).hex()

    def permutation(self, n: int) -> npt.NDArray[np.int32]:
        """(n,) int32, read-only: the new place of each of n columns.

        As MELLODDY-TUNER 3 permutes: the rank of HMAC-SHA256(key, str(i)) mod 2^63 among all i.
        """
        codes = [int.from_bytes(self._hmac(str(i).encode())[-8:], "big") % 2**63 for i in range(n)]
        order = np.argsort(np.array(codes, dtype=np.int64), kind="stable")
        place = np.empty(n, dtype=np.int32)
        place[order] = np.arange(n, dtype=np.int32)
        return frozen_view(place)

    def environments(self, codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """(n,) uint32: environments' codes under the key, the first 32 bits of HMAC-SHA256(key, code).

        Args:
            codes: (n,) uint32, as RDKit hashes environments, before they are folded into columns.
        """
        found = b"".join(self._hmac(_ENVIRONMENT + code.to_bytes(4, "little"))[:4] for code in codes.tolist())
        return np.frombuffer(found, dtype="<u4").astype(np.uint32)

    def fold(self, label: str, n_folds: int) -> int:
        """The fold, from 0, of all compounds with this label: HMAC-SHA256(key, label), even over the folds.

        The first 64 bits, as a fraction of 2^64, times the number of folds.
        """
        return int.from_bytes(self._hmac(_FOLD + label.encode())[:8], "big") * n_folds >> 64

    def _hmac(self, text: bytes) -> bytes:
        return hmac.digest(self.secret, text, "sha256")
