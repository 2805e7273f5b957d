"""Public data sets as tables of assays, for preparing and comparing on many tasks."""

import hashlib
from dataclasses import replace
from enum import StrEnum

import numpy as np
import pyarrow as pa

from pharmonia.chem.ecfp_matrix import EcfpSettings
from pharmonia.chem.keyed import PreparationKey
from pharmonia.data.adme import BIOGEN_UNITS, AssayTable
from pharmonia.data.assays import AssayType
from pharmonia.data.assays_tables import (
    ASSAY_ID,
    ASSAY_TYPE,
    COMPOUND_ID,
    SMILES,
    UNIT,
    VALUE,
    SourceTable,
)
from pharmonia.data.interactions import Interactions
from pharmonia.data.recipe_profile import TUNER_RULES, PrepareProfile

KIBA_THRESHOLD = 12.1  # of Tang et al. 2014 on DeepDTA's scale: higher scores bind
N_BITS = 4_096  # columns of a simulation's fingerprints; a consortium's recipe has 32,000
SIMULATION_KEY = PreparationKey(secret=hashlib.sha256(b"pharmonia simulation: known to all").digest())


class QsarSet(StrEnum):
    """Data sets that can be compared on as many tasks."""

    ADME = "adme"  # Biogen ADME: six endpoints of 3,521 compounds
    KIBA = "kiba-tasks"  # KIBA, each of its 229 targets an assay
    BOTH = "kiba+adme"

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the data sets that it is made from, as `pharmonia data fetch` takes them."""
        match self:
            case QsarSet.ADME:
                return ("biogen-adme",)
            case QsarSet.KIBA:
                return ("kiba",)
            case QsarSet.BOTH:
                return ("kiba", "biogen-adme")


def simulation_profile() -> PrepareProfile:
    """The default profile with what public data need.

    4,096 columns; KIBA's scores from 0 to 20; and no rule that an assay must vary in every fold, so that scarce assays
    are trained too.
    """
    other = replace(TUNER_RULES[AssayType.OTHER], lowest=0.0, highest=20.0)
    return PrepareProfile(
        ecfp=EcfpSettings(n_bits=N_BITS), rules={**TUNER_RULES, AssayType.OTHER: other}, min_fold_std=-1.0
    )


def adme_tables(table: AssayTable) -> list[SourceTable]:
    """Tables T0, T1 and T2 of an assay table: each endpoint is an assay of type ADME."""
    compound, endpoint = np.nonzero(np.isfinite(table.values))
    return _tables(
        table.name,
        assays={
            ASSAY_ID: list(table.endpoints),
            ASSAY_TYPE: [AssayType.ADME.value] * len(table.endpoints),
            UNIT: [BIOGEN_UNITS.get(endpoint, "") for endpoint in table.endpoints],
        },
        results={
            COMPOUND_ID: [table.compound_ids[index] for index in compound.tolist()],
            ASSAY_ID: [table.endpoints[index] for index in endpoint.tolist()],
            VALUE: table.values[compound, endpoint],
        },
        compounds={COMPOUND_ID: list(table.compound_ids), SMILES: list(table.smiles)},
    )


def interaction_tables(interactions: Interactions, threshold: float) -> list[SourceTable]:
    """Tables T0, T1 and T2 of interactions: each target is an assay of type OTHER, cut at the threshold."""
    assays = [f"{interactions.name} {target}" for target in interactions.target_ids]
    pairs = interactions.pairs
    return _tables(
        interactions.name,
        assays={
            ASSAY_ID: assays,
            ASSAY_TYPE: [AssayType.OTHER.value] * len(assays),
            "expert_threshold_1": [f"{threshold!r}"] * len(assays),
            "direction": ["high"] * len(assays),
        },
        results={
            COMPOUND_ID: [interactions.compound_ids[index] for index in pairs.compound.tolist()],
            ASSAY_ID: [assays[index] for index in pairs.target.tolist()],
            VALUE: pairs.value.astype(np.float64),
        },
        compounds={COMPOUND_ID: list(interactions.compound_ids), SMILES: list(interactions.smiles)},
    )


def _tables(name: str, **parts: dict[str, object]) -> list[SourceTable]:
    made = []
    for kind, columns in parts.items():
        table = pa.table(columns)
        rows = np.arange(1, table.num_rows + 1, dtype=np.int64)
        made.append(SourceTable(name=f"{name} {kind}", columns=table, rows=rows))
    return made
