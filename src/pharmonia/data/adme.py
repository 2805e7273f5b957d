"""Tables of assay results: compounds by endpoints."""

import csv
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_copy
from pharmonia.base.errors import CompoundError, DataFileError
from pharmonia.chem.standardise import canonical_smiles
from pharmonia.data.catalogue import CatalogueEntry

BIOGEN_COLUMNS = {  # endpoint and the source's column
    "hlm_clint": "LOG HLM_CLint (mL/min/kg)",
    "mdr1_mdck_er": "LOG MDR1-MDCK ER (B-A/A-B)",
    "solubility_ph_6_8": "LOG SOLUBILITY PH 6.8 (ug/mL)",
    "human_ppb": "LOG PLASMA PROTEIN BINDING (HUMAN) (% unbound)",
    "rat_ppb": "LOG PLASMA PROTEIN BINDING (RAT) (% unbound)",
    "rlm_clint": "LOG RLM_CLint (mL/min/kg)",
}
BIOGEN_UNITS = {
    "hlm_clint": "log10 mL/min/kg",
    "mdr1_mdck_er": "log10 B-A/A-B",
    "solubility_ph_6_8": "log10 ug/mL",
    "human_ppb": "log10 % unbound",
    "rat_ppb": "log10 % unbound",
    "rlm_clint": "log10 mL/min/kg",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AssayTable:
    """Measured endpoints of compounds.

    Args:
        name: Its name in the catalogue.
        compound_ids: The source's identifiers.
        smiles: Canonical SMILES, one per compound.
        endpoints: Names of the columns of `values`.
        values: (n_compounds, n_endpoints) float64; NaN where not measured.

    Raises:
        DataFileError: Tables differ in size, or a value is infinite.
    """

    name: str
    compound_ids: tuple[str, ...]
    smiles: tuple[str, ...]
    endpoints: tuple[str, ...]
    values: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = (len(self.compound_ids), len(self.endpoints))
        if self.values.shape != shape or len(self.smiles) != len(self.compound_ids):
            raise DataFileError(f"data set {self.name}: identifiers, structures and values differ in number")
        if np.isinf(self.values).any():
            raise DataFileError(f"data set {self.name}: a value is infinite")
        object.__setattr__(self, "values", frozen_copy(self.values))

    @property
    def n_measured(self) -> int:
        """Number of measured values."""
        return int(np.isfinite(self.values).sum())


def parse_biogen(entry: CatalogueEntry, content: bytes) -> AssayTable:
    """The assay table of `biogen-adme`; an empty cell is not measured.

    Raises:
        DataFileError: The file is not what it should be; names the file and the row.
    """
    where = entry.files[0].path
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataFileError(f"{where}: not readable as CSV: {error}") from error
    missing = {"Internal ID", "SMILES", *BIOGEN_COLUMNS.values()} - set(rows[0] if rows else ())
    if missing:
        raise DataFileError(f"{where}: the column {min(missing)!r} is missing")
    smiles, values = [], []
    for number, row in enumerate(rows, start=1):
        try:
            smiles.append(canonical_smiles(row["SMILES"]))
            values.append([float(row[column] or "nan") for column in BIOGEN_COLUMNS.values()])
        except (CompoundError, ValueError, TypeError, AttributeError) as error:
            raise DataFileError(f"{where}, row {number}: {error}") from error
    return AssayTable(
        name=entry.name,
        compound_ids=tuple(row["Internal ID"] for row in rows),
        smiles=tuple(smiles),
        endpoints=tuple(BIOGEN_COLUMNS),
        values=np.array(values, dtype=np.float64),
    )
