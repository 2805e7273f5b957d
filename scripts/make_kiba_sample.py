"""Make the embedded kiba-sample from the wheel of pydebiaseddta 0.1.0.

Usage: python scripts/make_kiba_sample.py WHEEL [FOLDER]

The wheel (MIT licence) carries 5,000 measured KIBA interactions as the sample data of its tutorials. This
script checks the wheel's SHA-256, joins identical structures and sequences, and writes typed Parquet, the
licence text and a note on where it all came from. The same wheel and the same versions of RDKit and Arrow
give the same bytes.
"""

import argparse
import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pharmonia.base.canonical import digest_file
from pharmonia.base.errors import DataFileError, DigestError
from pharmonia.data.catalogue import KIBA_SAMPLE
from pharmonia.data.columnar import interactions_manifest
from pharmonia.data.interactions import TEST_FOLD, Interactions, Pairs
from pharmonia.data.joining import join_compounds, join_targets
from pharmonia.data.manifest import FileRecord, Manifest, encode_manifest
from pharmonia.run.cache import EMBEDDED, file_name
from pharmonia.run.datasets import write_tables

WHEEL_NAME = "pydebiaseddta-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "e8a0ff0da4113fd0f0268d63e0f4095e98a4238be3695e1e979269ccc52e7fe4"
DATA_FOLDER = "pydebiaseddta/data/dta/dta_sample_data"
LICENCE = "pydebiaseddta-0.1.0.dist-info/LICENSE"
FOLDS = {"train": 1, "val": 2, "test": TEST_FOLD}

Row = tuple[dict[str, str], int]  # the fields of a line, and its fold


def main() -> None:
    """Parse the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=EMBEDDED)
    options = parser.parse_args()
    make(options.wheel, options.folder)


def make(wheel: Path, folder: Path) -> None:
    """Write the embedded data set into a folder.

    Raises:
        DigestError: The wheel is not the one we expect.
    """
    found = digest_file(wheel)
    if found != WHEEL_SHA256:
        raise DigestError(f"{wheel.name}: SHA-256 should be {WHEEL_SHA256}, got {found}")
    with zipfile.ZipFile(wheel) as archive:
        rows = list(_rows(archive))
        licence = archive.read(LICENCE)
    folder.mkdir(parents=True, exist_ok=True)
    interactions = _interactions(rows)
    write_tables(folder, interactions)
    (folder / file_name(KIBA_SAMPLE.name, "LICENSE", "txt")).write_bytes(licence.rstrip() + b"\n")
    (folder / file_name(KIBA_SAMPLE.name, "PROVENANCE", "md")).write_text(_provenance(interactions), "utf-8")
    manifest = _manifest(folder, interactions, wheel.stat().st_size)
    (folder / file_name(KIBA_SAMPLE.name, "manifest", "json")).write_bytes(encode_manifest(manifest))
    print(f"wrote {interactions.name} to {folder}: {len(interactions.pairs)} interactions")


def _rows(archive: zipfile.ZipFile) -> Iterator[Row]:
    for split, fold in FOLDS.items():
        text = archive.read(f"{DATA_FOLDER}/{split}.csv").decode()
        for fields in csv.DictReader(io.StringIO(text, newline="")):
            yield fields, fold


def _interactions(rows: list[Row]) -> Interactions:
    smiles = _listed(rows, "ligand_id", "smiles")
    sequences = _listed(rows, "prot_id", "aa_sequence")
    compounds = join_compounds(smiles, "ligand_id")
    targets = join_targets(sequences, "prot_id")
    compound_number = dict(zip(smiles, compounds.index.tolist(), strict=True))
    target_number = dict(zip(sequences, targets.index.tolist(), strict=True))
    return Interactions(
        name=KIBA_SAMPLE.name,
        measure=KIBA_SAMPLE.measure,
        compound_ids=compounds.ids,
        smiles=compounds.texts,
        target_ids=targets.ids,
        sequences=targets.texts,
        pairs=Pairs(
            compound=np.array([compound_number[fields["ligand_id"]] for fields, _ in rows], dtype=np.int32),
            target=np.array([target_number[fields["prot_id"]] for fields, _ in rows], dtype=np.int32),
            value=np.array([fields["affinity_score"] for fields, _ in rows], dtype=np.float32),
        ),
        fold=np.array([fold for _, fold in rows], dtype=np.int8),
        n_listed_compounds=len(smiles),
        n_listed_targets=len(sequences),
    )


def _listed(rows: list[Row], id_column: str, text_column: str) -> dict[str, str]:
    listed: dict[str, str] = {}
    for fields, _ in rows:
        text = listed.setdefault(fields[id_column], fields[text_column])
        if text != fields[text_column]:
            raise DataFileError(f"{id_column} {fields[id_column]} stands for two different {text_column}")
    return listed


def _manifest(folder: Path, interactions: Interactions, wheel_bytes: int) -> Manifest:
    manifest = interactions_manifest(
        interactions,
        title=KIBA_SAMPLE.title,
        licence=KIBA_SAMPLE.licence,
        citation=KIBA_SAMPLE.citation,
        notes=("folds of the source: test is 0, train is 1, val is 2",),
        sources=(FileRecord(name=WHEEL_NAME, sha256=WHEEL_SHA256, n_bytes=wheel_bytes),),
    )
    paths = sorted(folder.glob(file_name(KIBA_SAMPLE.name, "*", "parquet")))
    files = tuple(FileRecord(name=path.name, sha256=digest_file(path), n_bytes=path.stat().st_size) for path in paths)
    return replace(manifest, files=files)


def _provenance(interactions: Interactions) -> str:
    return f"""# Where kiba-sample comes from

| | |
| --- | --- |
| Package | pydebiaseddta 0.1.0, file `{WHEEL_NAME}` |
| SHA-256 of the file | `{WHEEL_SHA256}` |
| Taken from it | `{DATA_FOLDER}/{{train,val,test}}.csv` |
| Licence | {KIBA_SAMPLE.licence}; text in `{file_name(KIBA_SAMPLE.name, "LICENSE", "txt")}` |
| Cite | {KIBA_SAMPLE.citation} |
| Interactions | {len(interactions.pairs):,} |
| Compounds | {interactions.n_compounds} unique structures of {interactions.n_listed_compounds} listed |
| Targets | {interactions.n_targets} unique sequences of {interactions.n_listed_targets} listed |

Made by `python scripts/make_kiba_sample.py {WHEEL_NAME}`. What was changed: SMILES became
RDKit's canonical SMILES, each compound and target is stored once, values became 32-bit floats. What was kept:
every row, in the order train, val, test of the source, and its division into folds (test is 0, train is 1,
val is 2).
"""


if __name__ == "__main__":
    main()
