"""Small sources of data that several tests share."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa

from pharmonia.data.catalogue import CatalogueEntry, Kind, SourceFile
from pharmonia.data.importing import Columns

TINY = {
    "tiny/matrix.txt": "100 nan 1\r\nnan nan nan\r\n10 1000 nan\r\n",
    "tiny/ligands.txt": json.dumps({"L1": "CCO", "L2": "CCN", "L3": "OCC"}),
    "tiny/proteins.txt": json.dumps({"P1": "MKV", "P2": "MKL", "P3": "MKV"}),
    "tiny/train.txt": "[[0], [3]]",
    "tiny/test.txt": "[2]",
}

COLUMNS = Columns(smiles="smiles", sequence="sequence", value="value", compound_id=None, target_id=None)


def tiny_entry(files: dict[str, str] = TINY, *, measure: str = "pKd") -> CatalogueEntry:
    """A catalogue entry for files in the format of DeepDTA."""
    return CatalogueEntry(
        name="tiny",
        title="Three compounds, three targets",
        kind=Kind.INTERACTIONS,
        measure=measure,
        licence="none",
        citation="nobody",
        homepage="https://example.org",
        files=tuple(_source(path, text.encode()) for path, text in files.items()),
        n_rows=4,
        n_compounds=2,
        n_targets=2,
    )


def write_mirror(folder: Path, files: dict[str, str] = TINY) -> Path:
    """A mirror directory with these files."""
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode())
    return folder


def csv_batch(rows: list[tuple[str | None, str | None, str | None]]) -> pa.RecordBatch:
    """Rows of SMILES, sequence and value as the CSV reader hands them over."""
    coded = pa.dictionary(pa.int32(), pa.binary())
    smiles, sequence, value = zip(*rows, strict=True) if rows else ((), (), ())
    arrays = [_binary(smiles).cast(coded), _binary(sequence).cast(coded), _binary(value)]
    return pa.RecordBatch.from_arrays(arrays, names=["smiles", "sequence", "value"])


def _binary(texts: tuple[str | None, ...]) -> pa.Array:
    return pa.array([None if text is None else text.encode() for text in texts], type=pa.binary())


def _source(path: str, content: bytes) -> SourceFile:
    digest = hashlib.sha256(content).hexdigest()
    return SourceFile(path=path, url=f"https://example.org/{path}", sha256=digest, n_bytes=len(content))
