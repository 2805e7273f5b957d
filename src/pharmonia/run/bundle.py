"""Bundles on disk: a folder, or one .zip of it with the same bytes every time; written whole, verified when read."""

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import BundleError, InputError, PharmoniaError
from pharmonia.data.manifest import FileRecord
from pharmonia.data.recipe import decode_recipe
from pharmonia.evaluate.conformal import Calibration
from pharmonia.evaluate.conformal_regression import ResidualCalibration
from pharmonia.evaluate.modelcard import decode_card
from pharmonia.evaluate.modelcard_text import render_card
from pharmonia.run.arrayfile import Arrays
from pharmonia.run.bundle_parts import Bundle, BundleContents
from pharmonia.run.bundle_tasks import decode_bundle_tasks, decode_settings, encode_bundle_tasks, encode_settings
from pharmonia.run.files import write_whole
from pharmonia.run.predict_domain import Domain

FORMAT, FORMAT_VERSION = "pharmonia bundle", 2
READABLE = (1, FORMAT_VERSION)  # of version 1, the domain is not known: it knew columns, not environments
MANIFEST = "manifest.json"
MODEL, CALIBRATION = "model.safetensors", "calibration.safetensors"
NETWORK, TASKS, RECIPE = "network.json", "tasks.json", "recipe.json"
CARD, CARD_TEXT = "card.json", "CARD.md"

_NAMES = frozenset({MODEL, CALIBRATION, NETWORK, TASKS, RECIPE, CARD, CARD_TEXT})
_ARRAYS = {
    "classification.offsets": np.int64,
    "classification.probability": np.float32,
    "regression.offsets": np.int64,
    "regression.residual": np.float64,
}
_DOMAIN = {"domain.environments": np.uint32, "domain.novelty": np.float64}  # where it is known
_LARGEST_MANIFEST = 2**20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a .zip can state
_MODE = 0o100600 << 16

Files = Mapping[str, bytes]


def write_bundle(path: Path, contents: BundleContents) -> str:
    """Write a bundle, complete or not at all, and return its digest; equal contents give equal bytes.

    Args:
        path: A new folder; or, ending in .zip, a new file.
        contents: What to write.

    Raises:
        InputError: It is there already, or cannot be written.
    """
    if path.exists():
        raise InputError(f"{path} exists; a bundle is never overwritten, choose another name")
    files = _encode(contents)
    manifest, digest = _manifest(files)
    files = {**files, MANIFEST: manifest}
    if path.suffix.lower() == ".zip":
        write_whole(path, _zipped(files))
    else:
        _write_folder(path, files)
    return digest


def read_bundle(path: Path) -> Bundle:
    """The bundle of a folder or .zip, every file checked against its digest.

    Raises:
        InputError: There is none.
        BundleError: A file is missing, changed, or of another version; names it.
    """
    manifest = _take(path, MANIFEST, _LARGEST_MANIFEST)
    records, digest = _records(manifest, f"{path}: {MANIFEST}")
    files = {}
    for record in records:
        content = _take(path, record.name, record.n_bytes)
        found = hashlib.sha256(content).hexdigest()
        if found != record.sha256:
            raise BundleError(f"{path}: {record.name} is damaged: its SHA-256 should be {record.sha256}, found {found}")
        files[record.name] = content
    return Bundle(contents=_decode(files, str(path)), digest=digest)


def _encode(contents: BundleContents) -> Files:
    calibration: Arrays = {
        "classification.offsets": contents.classification.offsets,
        "classification.probability": contents.classification.probability,
        "regression.offsets": contents.regression.offsets,
        "regression.residual": contents.regression.residual,
    }
    if contents.domain is not None:
        calibration |= {"domain.environments": contents.domain.seen, "domain.novelty": contents.domain.novelty}
    return {
        MODEL: safetensors.numpy.save(dict(contents.weights)),
        CALIBRATION: safetensors.numpy.save(calibration),
        NETWORK: encode_settings(contents.settings),
        TASKS: encode_bundle_tasks(contents.tasks),
        RECIPE: contents.recipe.encode(),
        CARD: contents.card.encode(),
        CARD_TEXT: render_card(contents.card).encode(),
    }


def _decode(files: Files, where: str) -> BundleContents:
    arrays = _arrays(files[CALIBRATION], f"{where}: {CALIBRATION}")
    weights = _arrays(files[MODEL], f"{where}: {MODEL}")
    wanted = _ARRAYS | (_DOMAIN if "domain.environments" in arrays else {})
    for name, dtype in wanted.items():
        if name not in arrays or arrays[name].dtype != dtype:
            raise BundleError(f"{where}: {CALIBRATION} has no array {name} of {np.dtype(dtype).name}")
    if any(array.dtype != np.float32 for array in weights.values()):
        raise BundleError(f"{where}: {MODEL} has tensors that are not float32")
    try:
        return BundleContents(
            settings=decode_settings(files[NETWORK], f"{where}: {NETWORK}"),
            tasks=decode_bundle_tasks(files[TASKS], f"{where}: {TASKS}"),
            recipe=decode_recipe(files[RECIPE], f"{where}: {RECIPE}"),
            weights=weights,
            classification=Calibration(
                offsets=arrays["classification.offsets"], probability=arrays["classification.probability"]
            ),
            regression=ResidualCalibration(
                offsets=arrays["regression.offsets"], residual=arrays["regression.residual"]
            ),
            domain=_domain(arrays),
            card=decode_card(files[CARD], f"{where}: {CARD}"),
        )
    except BundleError:
        raise
    except PharmoniaError as error:
        raise BundleError(f"{where} holds parts that do not belong together: {error}") from error


def _domain(arrays: Arrays) -> Domain | None:
    """What compounds the bundle is for; None where it does not say."""
    if "domain.environments" not in arrays:
        return None
    return Domain(seen=arrays["domain.environments"], novelty=arrays["domain.novelty"])


def _arrays(content: bytes, where: str) -> Arrays:
    try:
        return safetensors.numpy.load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{where} holds no arrays: {error}") from error


def _manifest(files: Files) -> tuple[bytes, str]:
    """The manifest's bytes, and the bundle's digest."""
    records: list[Json] = [
        {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "n_bytes": len(content)}
        for name, content in sorted(files.items())
    ]
    body: dict[str, Json] = {"format": FORMAT, "version": FORMAT_VERSION, "files": records}
    digest = hashlib.sha256(canonical_json(body)).hexdigest()
    return canonical_json({**body, "sha256": digest}), digest


def _records(content: bytes, where: str) -> tuple[tuple[FileRecord, ...], str]:
    try:
        document = json.loads(content)
        kind = (document["format"], document["version"])
        if kind[0] != FORMAT or kind[1] not in READABLE:
            versions = " and ".join(str(one) for one in READABLE)
            raise BundleError(f"{where} is of {kind[0]!r} version {kind[1]!r}; this reads {FORMAT} {versions}")
        body = {name: value for name, value in document.items() if name != "sha256"}
        digest = hashlib.sha256(canonical_json(body)).hexdigest()
        records = tuple(FileRecord(**record) for record in document["files"])
        if document["sha256"] != digest or canonical_json(document) != content:
            raise BundleError(f"{where} is damaged: its digest should be {document['sha256']}, found {digest}")
        sizes_fit = all(isinstance(record.n_bytes, int) and record.n_bytes >= 0 for record in records)
        if len(records) != len(_NAMES) or {record.name for record in records} != _NAMES or not sizes_fit:
            raise BundleError(f"{where} should list {', '.join(sorted(_NAMES))}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{where} is no manifest of a bundle: {error}") from error
    return records, digest


def _take(path: Path, name: str, most: int) -> bytes:
    """The bytes of one file, one more than `most` where it is longer."""
    try:
        if path.is_dir():
            with (path / name).open("rb") as file:
                return file.read(most + 1)
        with zipfile.ZipFile(path) as packed:
            if [info.filename for info in packed.infolist()].count(name) != 1:
                raise BundleError(f"{path}: {name} should be there once")
            if packed.getinfo(name).compress_type != zipfile.ZIP_STORED:
                raise BundleError(f"{path}: {name} is compressed; a bundle is stored as it is")
            with packed.open(name) as entry:
                return entry.read(most + 1)
    except FileNotFoundError as error:
        if not path.exists() or name == MANIFEST:
            raise InputError(f"{path} is no bundle: there is no {name if path.exists() else 'such file'}") from error
        raise BundleError(f"{path}: {name} is missing") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise BundleError(f"{path}: {name} cannot be read from the .zip: {error}") from error


def _zipped(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, _MODE
            packed.writestr(entry, content)
    return buffer.getvalue()


def _write_folder(folder: Path, files: Files) -> None:
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(mode=0o700, parents=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        partial.replace(folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
