"""Keystreams added to words in place: AES-128-CTR from block 0, through one zero and one scratch buffer of 128 KiB."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from pharmonia.base.arrays import frozen_view
from pharmonia.base.errors import MessageError
from pharmonia.secagg.header import Words
from pharmonia.secagg.wire import label

STREAM_KEY_BYTES = 16
CHUNK_BYTES = 1 << 17
CACHE_LINE = 64


def aligned_words(n: int, dtype: np.dtype[np.unsignedinteger]) -> Words:
    """(n,) words with nothing in them yet that begin on a cache line, where adding is a tenth faster."""
    raw = np.empty(n * dtype.itemsize + CACHE_LINE, dtype=np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + n * dtype.itemsize].view(dtype)


@dataclass(frozen=True, slots=True)
class Stream:
    """A keystream and the sign with which it enters a sum."""

    key: bytes = field(repr=False)
    is_added: bool

    def __post_init__(self) -> None:
        if len(self.key) != STREAM_KEY_BYTES:
            raise MessageError(f"a stream's key has {STREAM_KEY_BYTES} bytes, got {len(self.key)}")


def mask_key(pair_key: bytes, round_digest: bytes) -> bytes:
    """The key of the mask that two partners share in one round: HKDF-Expand(K_ij, "mask" | rh, 16)."""
    return _expand(pair_key, label("mask") + round_digest, STREAM_KEY_BYTES)


def self_mask_key(seed: bytes, round_digest: bytes) -> bytes:
    """The key of a partner's own mask in a dropout-tolerant round: HKDF-Expand(b_i, "self" | rh, 16)."""
    return _expand(seed, label("self") + round_digest, STREAM_KEY_BYTES)


def _expand(key: bytes, info: bytes, length: int) -> bytes:
    return HKDFExpand(algorithm=hashes.SHA256(), length=length, info=info).derive(key)


def _zeros() -> memoryview:
    zeros = aligned_words(CHUNK_BYTES, np.dtype(np.uint8))
    zeros[:] = 0
    return frozen_view(zeros).data


_ZEROS = _zeros()


def add_streams(words: Words, streams: Sequence[Stream], *, fresh: bool = False) -> None:
    """Add each stream to the words, or subtract it, modulo their size.

    Args:
        words: One-dimensional, contiguous, little-endian; changed in place.
        streams: Each is read from its start.
        fresh: The words hold nothing yet, and the first stream is written over them.
    """
    ciphers = [
        (Cipher(algorithms.AES(stream.key), modes.CTR(bytes(16))).encryptor(), stream.is_added) for stream in streams
    ]
    step = CHUNK_BYTES // words.itemsize
    stream_words = aligned_words(step, words.dtype)
    scratch = stream_words.view(np.uint8).data
    for start in range(0, words.size, step):
        chunk = words[start : start + step]
        zeros = _ZEROS[: chunk.nbytes]
        mask = stream_words[: chunk.size]
        for number, (cipher, is_added) in enumerate(ciphers):
            cipher.update_into(zeros, scratch)
            if fresh and number == 0:
                np.copyto(chunk, mask) if is_added else np.negative(mask, out=chunk)
            elif is_added:
                np.add(chunk, mask, out=chunk)
            else:
                np.subtract(chunk, mask, out=chunk)
