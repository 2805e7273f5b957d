"""Named arrays in one file, written whole or not at all, and verified when read."""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import StoreError
from pharmonia.run.files import write_private, write_whole

Arrays = dict[str, npt.NDArray[Any]]


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], meta: Json) -> None:
    """Write arrays and plain values as safetensors.

    Raises:
        InputError: The file cannot be written.
    """
    write_whole(path, _file(arrays, meta))


def write_private_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], meta: Json) -> None:
    """As `write_arrays`, of mode 0600 from its first byte on.

    Raises:
        InputError: The file cannot be written.
    """
    write_private(path, _file(arrays, meta))


def _file(arrays: Mapping[str, npt.NDArray[Any]], meta: Json) -> bytes:
    return save(dict(arrays), {"meta": canonical_json(meta).decode(), "sha256": _digest(arrays)})


def canonical_file(name: str, array: npt.NDArray[np.float64], meta: Json) -> bytes:
    """The bytes of a file that `read_arrays` reads, of one array; the same on every machine, so that a digest names it.

    `safetensors` itself writes the same array in other bytes each time, as it does not order what it says of it.
    """
    array = np.ascontiguousarray(array, dtype="<f8")
    about: Json = {
        "__metadata__": {"meta": canonical_json(meta).decode(), "sha256": _digest({name: array})},
        name: {"dtype": "F64", "shape": list(array.shape), "data_offsets": [0, array.nbytes]},
    }
    header = canonical_json(about)
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + array.tobytes()


def read_arrays(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """The arrays and plain values of a file that `write_arrays` wrote.

    Raises:
        StoreError: The file is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        meta = json.loads(metadata["meta"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete it and run again") from error
    if metadata.get("sha256") != _digest(arrays):
        raise StoreError(
            f"{path} is damaged: its arrays do not have the digest written with them; delete it and run again"
        )
    return arrays, meta


def _digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
