"""Data sets by name: load, fetch and import."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy

from pharmonia.base.errors import InputError
from pharmonia.data.adme import AssayTable, parse_biogen
from pharmonia.data.catalogue import CatalogueEntry, Kind, catalogue_entry
from pharmonia.data.columnar import (
    ASSAYS,
    COMPOUNDS,
    ENCODED,
    PAIRS,
    TARGETS,
    assays_as_arrow,
    assays_from_arrow,
    encode,
    encoded_arrays,
    encoded_from_arrays,
    interaction_tables,
    interactions_from_tables,
    interactions_manifest,
)
from pharmonia.data.deepdta import parse_deepdta
from pharmonia.data.interactions import TEST_FOLD, EncodedInteractions, Interactions
from pharmonia.data.manifest import Manifest
from pharmonia.run.cache import (
    available,
    describe,
    file_name,
    is_ready,
    publish,
    read_manifest,
    read_verified,
    source_records,
    staging,
    writing,
)
from pharmonia.run.fetch import Progress, mirror_dir, no_progress, obtain

__all__ = ["available", "describe", "fetch", "load", "load_assays"]


def load(name: str) -> EncodedInteractions:
    """The interactions of that name, with graphs and tokens, every file checked against its digest.

    `kiba-sample` comes with the package; its graphs are built here, in a fraction of a second.

    Raises:
        UnknownNameError: No such data set, or it has not been fetched.
        InputError: It is a table of assay results.
        CacheError: A file is damaged, missing or of another version.
    """
    manifest = read_manifest(name)
    if manifest.kind is not Kind.INTERACTIONS:
        raise InputError(
            f"the data set {name!r} is a table of assay results without targets; interactions are needed "
            "here, such as those of kiba-sample, kiba or davis; of this table's assays, `pharmonia compare adme` trains"
        )
    tables = {part: read_table(manifest, part) for part in (PAIRS, COMPOUNDS, TARGETS)}
    interactions = interactions_from_tables(manifest, tables)
    if not any(record.name.endswith(".safetensors") for record in manifest.files):
        return encode(interactions)
    return encoded_from_arrays(interactions, safetensors.numpy.load(read_verified(manifest, ENCODED, "safetensors")))


def load_assays(name: str) -> AssayTable:
    """The assay table of that name, checked against its digest.

    Raises:
        UnknownNameError: No such data set, or it has not been fetched.
        InputError: It holds interactions.
        CacheError: Its file is damaged, missing or of another version.
    """
    manifest = read_manifest(name)
    if manifest.kind is not Kind.ASSAYS:
        raise InputError(f"the data set {name!r} holds interactions; a table of assay results is needed here")
    return assays_from_arrow(name, read_table(manifest, ASSAYS))


def fetch(name: str, *, mirror: Path | None = None, again: bool = False, progress: Progress = no_progress) -> Manifest:
    """Download or copy a data set of the catalogue, check it, prepare it and put it on the shelf.

    A data set that is here already is checked and left as it is. Until all is done, nothing is changed.

    Args:
        name: Its name in the catalogue.
        mirror: Directory that holds the files; without it PHARMONIA_MIRROR, and without that the network.
        again: Prepare it once more even if it is here.
        progress: Told what is being done, how much of it is done, and of how much.

    Raises:
        UnknownNameError: The catalogue has no such data set.
        InputError: The mirror does not hold a file, or the cache cannot be written.
        FetchError: A download failed.
        DigestError: Other bytes came than the catalogue expects.
        CacheError: It is here, but damaged.
    """
    entry = catalogue_entry(name)
    if entry.embedded or (is_ready(name) and not again):
        return _checked(name)
    source = mirror_dir(mirror)
    with staging(name) as folder:
        raw, prepared = folder / "raw", folder / "prepared"
        with writing():
            raw.mkdir()
            prepared.mkdir()
        paths = {file.path: obtain(file, raw, source, progress) for file in entry.files}
        manifest = _prepare(entry, lambda path: paths[path].read_bytes(), prepared, progress)
        return publish(prepared, manifest)


def _checked(name: str) -> Manifest:
    manifest = read_manifest(name)
    for record in manifest.files:
        _, part, suffix = record.name.split(".")
        read_verified(manifest, part, suffix)
    return manifest


def _prepare(entry: CatalogueEntry, read: Callable[[str], bytes], folder: Path, progress: Progress) -> Manifest:
    match entry.kind:
        case Kind.INTERACTIONS:
            return _prepare_interactions(entry, parse_deepdta(entry, read), folder, progress)
        case Kind.ASSAYS:
            return _prepare_assays(entry, parse_biogen(entry, read(entry.files[0].path)), folder)


def _prepare_interactions(
    entry: CatalogueEntry, interactions: Interactions, folder: Path, progress: Progress
) -> Manifest:
    encoded = encode(interactions, tick=graph_ticker(interactions.n_compounds, progress))
    with writing():
        write_encoded(folder, encoded)
    n_test = int((interactions.fold == TEST_FOLD).sum())
    return interactions_manifest(
        interactions,
        title=entry.title,
        licence=entry.licence,
        citation=entry.citation,
        notes=(f"{n_test:,} rows are in the published test fold",),
        sources=source_records(entry),
    )


def _prepare_assays(entry: CatalogueEntry, assays: AssayTable, folder: Path) -> Manifest:
    with writing():
        write_parquet(assays_as_arrow(assays), folder / file_name(entry.name, ASSAYS, "parquet"))
    return Manifest(
        name=entry.name,
        title=entry.title,
        kind=entry.kind,
        measure=entry.measure,
        licence=entry.licence,
        citation=entry.citation,
        notes=(f"endpoints {', '.join(assays.endpoints)}",),
        n_rows=assays.n_measured,
        n_compounds=len(assays.smiles),
        n_targets=0,
        n_listed_compounds=len(assays.smiles),
        n_listed_targets=0,
        sources=source_records(entry),
        files=(),
    )


def graph_ticker(n_compounds: int, progress: Progress) -> Callable[[], None]:
    """Something to call once per compound, which tells the progress a hundred times in all."""
    done, step = itertools.count(1), max(1, n_compounds // 100)

    def tick() -> None:
        n_done = next(done)
        if n_done % step == 0 or n_done == n_compounds:
            progress("building molecular graphs", n_done, n_compounds)

    return tick


def read_table(manifest: Manifest, part: str) -> pa.Table:
    """One table of a data set, checked against its digest."""
    content = pa.BufferReader(read_verified(manifest, part, "parquet"))
    return pq.ParquetFile(content).read(use_threads=False)  # `pq.read_table` would import much more


def write_tables(folder: Path, interactions: Interactions) -> None:
    """Write the three tables of a data set as Parquet; equal tables give equal bytes."""
    for part, table in interaction_tables(interactions).items():
        write_parquet(table, folder / file_name(interactions.name, part, "parquet"))


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write one table; equal tables give equal bytes."""
    pq.write_table(table, path, compression="zstd", compression_level=9)


def write_encoded(folder: Path, encoded: EncodedInteractions) -> None:
    """Write the tables of a data set and its graphs and tokens."""
    write_tables(folder, encoded.interactions)
    path = folder / file_name(encoded.interactions.name, ENCODED, "safetensors")
    path.write_bytes(safetensors.numpy.save(encoded_arrays(encoded)))
