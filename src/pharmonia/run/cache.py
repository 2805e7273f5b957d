"""The shelf of prepared data sets: where they lie, what each is, and how a new one is put there whole.

Needs neither RDKit nor Arrow, so that listing works in the smallest installation.
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from pharmonia.base.canonical import digest_file
from pharmonia.base.errors import CacheError, InputError, OptionError, UnknownNameError
from pharmonia.data.catalogue import CATALOGUE, CatalogueEntry, Kind, unknown_name
from pharmonia.data.manifest import FileRecord, Manifest, decode_manifest, encode_manifest

EMBEDDED = Path(__file__).parents[1] / "data" / "embedded"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_STAGING = ".staging-"
_STALE_S = 24 * 3600  # what a killed process left behind is swept after a day


class State(StrEnum):
    """Where a data set stands on this machine."""

    EMBEDDED = "embedded"
    READY = "fetched"
    IMPORTED = "imported"
    ABSENT = "not fetched"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One line about a data set."""

    name: str
    title: str
    kind: Kind
    measure: str
    licence: str
    state: State
    n_rows: int
    n_compounds: int
    n_targets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """All we know about a data set.

    Args:
        summary: The line about it.
        citation: Whom to cite.
        homepage: The source, for people; empty for the user's own data.
        notes: How it was made.
        sources: The files it is, or will be, made from.
        files: The files it consists of here; none while it is not fetched.
        folder: Where they lie, or will lie.
    """

    summary: Summary
    citation: str
    homepage: str
    notes: tuple[str, ...]
    sources: tuple[FileRecord, ...]
    files: tuple[FileRecord, ...]
    folder: Path


def cache_dir() -> Path:
    """PHARMONIA_CACHE, else XDG_CACHE_HOME/pharmonia, else ~/.cache/pharmonia."""
    own = os.environ.get("PHARMONIA_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared).expanduser() if shared else Path.home() / ".cache") / "pharmonia"


def structures_file() -> Path:
    """Where structures that were met before are kept, unless the user names another file."""
    return cache_dir() / "structures.sqlite"


def folder_of(name: str) -> Path:
    """Where the data set of that name lies, if it is here."""
    entry = CATALOGUE.get(name)
    return EMBEDDED if entry and entry.embedded else cache_dir() / name


def file_name(name: str, part: str, suffix: str) -> str:
    """The file of one part of a data set."""
    return f"{name}.{part}.{suffix}"


def manifest_path(name: str) -> Path:
    """The manifest of the data set of that name, whose presence says that it is here."""
    return folder_of(name) / file_name(name, "manifest", "json")


def is_ready(name: str) -> bool:
    """Whether a data set of that name lies here."""
    return _NAME.fullmatch(name) is not None and manifest_path(name).is_file()


def require_name(name: str) -> None:
    """Refuse a name that is not fit for a folder.

    Raises:
        OptionError: It is not 1 to 64 of a-z, 0-9, "_" and "-", starting with a letter or digit.
    """
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"{name!r} cannot name a data set: use 1 to 64 of a-z, 0-9, '_' and '-', a letter or digit first"
        )


def read_manifest(name: str) -> Manifest:
    """The manifest of a data set that lies here.

    Raises:
        UnknownNameError: No such data set, or it has not been fetched; names the command that fetches it.
        CacheError: Its manifest is damaged.
    """
    if not is_ready(name):
        if name in CATALOGUE:
            raise UnknownNameError(f"the data set {name!r} is not here: run `pharmonia data fetch {name}`")
        raise unknown_name("data set", name, [summary.name for summary in available()])
    path = manifest_path(name)
    try:
        return decode_manifest(path.read_bytes(), path.name)
    except CacheError as error:
        raise CacheError(f"{error}; {remedy(name)}") from error


def remedy(name: str) -> str:
    """What to do about a damaged data set."""
    entry = CATALOGUE.get(name)
    if entry is None:
        return "import it once more with `pharmonia data import FILE --again`"
    if entry.embedded:
        return "install Pharmonia once more"
    return f"run `pharmonia data fetch {name} --again`"


def read_verified(manifest: Manifest, part: str, suffix: str) -> bytes:
    """The bytes of one file of a data set.

    Raises:
        CacheError: The file is missing or its digest is not the manifest's; names file, digests and remedy.
    """
    name = file_name(manifest.name, part, suffix)
    path = folder_of(manifest.name) / name
    wanted = next((record for record in manifest.files if record.name == name), None)
    if wanted is None or not path.is_file():
        raise CacheError(f"{name} of the data set {manifest.name!r} is missing; {remedy(manifest.name)}")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != wanted.sha256:
        raise CacheError(
            f"{name} of the data set {manifest.name!r} is damaged: its SHA-256 should be {wanted.sha256}, "
            f"but {len(content)} bytes with {found} are there; {remedy(manifest.name)}"
        )
    return content


def source_records(entry: CatalogueEntry) -> tuple[FileRecord, ...]:
    """The files of a source by their addresses."""
    return tuple(FileRecord(name=file.url, sha256=file.sha256, n_bytes=file.n_bytes) for file in entry.files)


def available() -> list[Summary]:
    """Every data set of the catalogue, in its order, then the user's own by name."""
    names = [*CATALOGUE, *_imported_names()]
    return [_summary(name) for name in names]


def describe(name: str) -> Description:
    """All we know about a data set, fetched or not.

    Raises:
        UnknownNameError: There is none of that name.
        CacheError: Its manifest is damaged.
    """
    entry = CATALOGUE.get(name)
    homepage = entry.homepage if entry else ""
    notes: tuple[str, ...] = ()
    files: tuple[FileRecord, ...] = ()
    if entry and not is_ready(name):
        citation, sources = entry.citation, source_records(entry)
    else:
        manifest = read_manifest(name)
        citation, notes = manifest.citation, manifest.notes
        sources, files = manifest.sources, manifest.files
    return Description(
        summary=_summary(name),
        citation=citation,
        homepage=homepage,
        notes=notes,
        sources=sources,
        files=files,
        folder=folder_of(name),
    )


@contextmanager
def staging(name: str) -> Iterator[Path]:
    """An empty folder in the cache that vanishes with all it holds, however the block ends.

    Raises:
        InputError: The cache cannot be written.
    """
    root = cache_dir()
    with writing():
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        folder = Path(tempfile.mkdtemp(prefix=f"{_STAGING}{name}-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def writing() -> Iterator[None]:
    """Turn a failure to write into an error that names the cache and how to choose another.

    Raises:
        InputError: The cache cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write to the cache {cache_dir()}: {error.strerror}; "
            "name a folder that you may write in the environment variable PHARMONIA_CACHE"
        ) from error


def publish(prepared: Path, manifest: Manifest) -> Manifest:
    """Move a folder of data files, with its manifest, to the shelf in one step.

    Args:
        prepared: A folder inside `staging` that holds the data files and nothing else.
        manifest: What they are; its `files` are filled in here.

    Returns:
        The manifest with the digest of each file.

    Raises:
        InputError: The cache cannot be written.
    """
    with writing():
        files = tuple(
            FileRecord(name=path.name, sha256=digest_file(path), n_bytes=path.stat().st_size)
            for path in sorted(prepared.iterdir())
        )
        complete = replace(manifest, files=files)
        (prepared / file_name(manifest.name, "manifest", "json")).write_bytes(encode_manifest(complete))
        place = cache_dir() / manifest.name
        if place.exists():
            place.rename(prepared.parent / "replaced")
        prepared.rename(place)
    return complete


def _imported_names() -> list[str]:
    root = cache_dir()
    folders = [path.name for path in root.iterdir()] if root.is_dir() else []
    return sorted(name for name in folders if name not in CATALOGUE and is_ready(name))


def _summary(name: str) -> Summary:
    entry = CATALOGUE.get(name)
    if entry and not is_ready(name):
        return _summary_of(entry, State.ABSENT)
    try:
        manifest = read_manifest(name)
    except CacheError:
        return _summary_of(entry, State.DAMAGED) if entry else _damaged(name)
    if entry is None:
        return _summary_of(manifest, State.IMPORTED)
    return _summary_of(manifest, State.EMBEDDED if entry.embedded else State.READY)


def _summary_of(known: CatalogueEntry | Manifest, state: State) -> Summary:
    return Summary(
        name=known.name,
        title=known.title,
        kind=known.kind,
        measure=known.measure,
        licence=known.licence,
        state=state,
        n_rows=known.n_rows,
        n_compounds=known.n_compounds,
        n_targets=known.n_targets,
    )


def _damaged(name: str) -> Summary:
    return Summary(
        name=name,
        title="own data whose manifest is damaged",
        kind=Kind.INTERACTIONS,
        measure="unknown",
        licence="unknown",
        state=State.DAMAGED,
        n_rows=0,
        n_compounds=0,
        n_targets=0,
    )


def _sweep(root: Path) -> None:
    for path in root.glob(f"{_STAGING}*"):
        if time.time() - path.stat().st_mtime > _STALE_S:
            shutil.rmtree(path, ignore_errors=True)
