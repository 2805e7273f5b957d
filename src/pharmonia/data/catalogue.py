"""Public data sets that we can fetch: who made them, under which terms, and the exact bytes we expect."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from pharmonia.base.errors import UnknownNameError

_DEEPDTA = "https://raw.githubusercontent.com/hkmztrk/DeepDTA/a546a8433a6822e958f36171c4356ad6f414d623/data"
_BIOGEN = (
    "https://raw.githubusercontent.com/molecularinformatics/Computational-ADME/b00df003de117ce9e5b381afd886095c5f2af2d5"
)

_DEEPDTA_CITATION = (
    "Öztürk, Özgür, Ozkirimli, DeepDTA: deep drug-target binding affinity prediction, Bioinformatics 34(17) "
    "(2018) i821-i829, doi:10.1093/bioinformatics/bty593"
)
_KIBA_CITATION = (
    "Tang, Szwajda, Shakyawar, Xu, Hintsanen, Wennerberg, Aittokallio, Making sense of large-scale kinase "
    "inhibitor bioactivity data sets, J. Chem. Inf. Model. 54 (2014) 735-743, doi:10.1021/ci400709d"
)


class Kind(StrEnum):
    """What a data set holds."""

    INTERACTIONS = "interactions"
    ASSAYS = "assay table"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of a source, pinned to its exact bytes.

    Args:
        path: Where a mirror directory holds it, with "/" between folders.
        url: Where it is downloaded from.
        sha256: 64 hexadecimal digits.
        n_bytes: Its size.
    """

    path: str
    url: str
    sha256: str
    n_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A public data set.

    Args:
        name: What the user types.
        title: One line for people.
        kind: Interactions, or a table of assay results.
        measure: What a value is, with its unit.
        licence: The source's terms, or that it states none.
        citation: Whom to cite.
        homepage: The source, for people.
        files: What `fetch` downloads; empty for data that comes with the package.
        n_rows: Measured values.
        n_compounds: Unique structures (for an assay table: compounds as listed).
        n_targets: Unique sequences; 0 for an assay table.
    """

    name: str
    title: str
    kind: Kind
    measure: str
    licence: str
    citation: str
    homepage: str
    files: tuple[SourceFile, ...]
    n_rows: int
    n_compounds: int
    n_targets: int

    @property
    def embedded(self) -> bool:
        """Whether the data come with the package and need no download."""
        return not self.files


KIBA_SAMPLE = CatalogueEntry(
    name="kiba-sample",
    title="5,000 measured KIBA interactions, the sample data of pydebiaseddta 0.1.0",
    kind=Kind.INTERACTIONS,
    measure="KIBA score",
    licence="MIT (pydebiaseddta 0.1.0, Copyright (c) 2023 Rıza Özçelik)",  # noqa: RUF001
    citation=(
        "Özçelik, Bağ, Atıl, Barsbey, Özgür, Ozkirimli, A framework for improving the "  # noqa: RUF001
        "generalizability of drug-target affinity prediction models, J. Comput. Biol. (2023), "
        "doi:10.1089/cmb.2023.0208; " + _KIBA_CITATION
    ),
    homepage="https://github.com/rizaozcelik/pydebiaseddta",
    files=(),
    n_rows=5_000,
    n_compounds=458,
    n_targets=189,
)

KIBA = CatalogueEntry(
    name="kiba",
    title="KIBA as DeepDTA publishes it: kinase inhibitors, one score from Ki, Kd and IC50",
    kind=Kind.INTERACTIONS,
    measure="KIBA score",
    licence="not stated by the source; the paper of 2014 calls the matrix freely available",
    citation=f"{_KIBA_CITATION}; {_DEEPDTA_CITATION}",
    homepage="https://github.com/hkmztrk/DeepDTA",
    files=(
        SourceFile(
            path="kiba/kiba_binding_affinity_v2.txt",
            url=f"{_DEEPDTA}/kiba/kiba_binding_affinity_v2.txt",
            sha256="0b062d3f51e80b63acda95bcc6364cacafa744d1dcd2d97293ccc878540b5732",
            n_bytes=2_864_308,
        ),
        SourceFile(
            path="kiba/ligands_can.txt",
            url=f"{_DEEPDTA}/kiba/ligands_can.txt",
            sha256="a95797abaf31b17bd2471dbf3e3476f588d5a79797903cc156528f66e55c963b",
            n_bytes=165_908,
        ),
        SourceFile(
            path="kiba/proteins.txt",
            url=f"{_DEEPDTA}/kiba/proteins.txt",
            sha256="2ba9dbc2959d88b0740aaf28828c4c611c2dbd1c2019547eb2ec1c3daa192604",
            n_bytes=170_137,
        ),
        SourceFile(
            path="kiba/folds/train_fold_setting1.txt",
            url=f"{_DEEPDTA}/kiba/folds/train_fold_setting1.txt",
            sha256="da74eeeb2c3e7d52a2fd6daac0dc105bba097c222337230eec69d9fd7e1c301e",
            n_bytes=695_885,
        ),
        SourceFile(
            path="kiba/folds/test_fold_setting1.txt",
            url=f"{_DEEPDTA}/kiba/folds/test_fold_setting1.txt",
            sha256="92801eec2caddf950235c6c6a46d999d2eeeaa6d35cbeffd68c72a5cf54b208d",
            n_bytes=139_047,
        ),
    ),
    n_rows=118_254,
    n_compounds=2_068,
    n_targets=229,
)

DAVIS = CatalogueEntry(
    name="davis",
    title="Davis as DeepDTA publishes it: 68 kinase inhibitors against 442 kinases",
    kind=Kind.INTERACTIONS,
    measure="pKd",
    licence="not stated by the source",
    citation=(
        "Davis, Hunt, Herrgard, Ciceri, Wodicka, Pallares, Hocker, Treiber, Zarrinkar, Comprehensive "
        "analysis of kinase inhibitor selectivity, Nat. Biotechnol. 29 (2011) 1046-1051, "
        "doi:10.1038/nbt.1990; " + _DEEPDTA_CITATION
    ),
    homepage="https://github.com/hkmztrk/DeepDTA",
    files=(
        SourceFile(
            path="davis/drug-target_interaction_affinities_Kd__Davis_et_al.2011v1.txt",
            url=f"{_DEEPDTA}/davis/drug-target_interaction_affinities_Kd__Davis_et_al.2011v1.txt",
            sha256="e2c3d003d49aff61f70be24feafd8d084b0df9404d919338088855828e252d88",
            n_bytes=164_306,
        ),
        SourceFile(
            path="davis/ligands_can.txt",
            url=f"{_DEEPDTA}/davis/ligands_can.txt",
            sha256="141094d99510a52091d2ea1b05be7c1f66b2c5fcaeeeb261eaf4cbf2128bde6d",
            n_bytes=5_306,
        ),
        SourceFile(
            path="davis/proteins.txt",
            url=f"{_DEEPDTA}/davis/proteins.txt",
            sha256="187cedeee10cd3b58af915a2861a5ed0c4ff42a2d728f4dea5e0b47e3d75b291",
            n_bytes=355_211,
        ),
        SourceFile(
            path="davis/folds/train_fold_setting1.txt",
            url=f"{_DEEPDTA}/davis/folds/train_fold_setting1.txt",
            sha256="bb7a63b2178c40a4e2417bc701b95511407787fa5eabb6a43a695fe6bd722f56",
            n_bytes=166_040,
        ),
        SourceFile(
            path="davis/folds/test_fold_setting1.txt",
            url=f"{_DEEPDTA}/davis/folds/test_fold_setting1.txt",
            sha256="c97589fa2fae318b01870854af0ab6fdd155dd38524cc6ac1d0319418ac6d568",
            n_bytes=33_252,
        ),
    ),
    n_rows=30_056,
    n_compounds=68,
    n_targets=379,
)

BIOGEN_ADME = CatalogueEntry(
    name="biogen-adme",
    title="Six ADME assays of 3,521 purchasable compounds, published by Biogen",
    kind=Kind.ASSAYS,
    measure="log10",
    licence="MIT (Copyright (c) 2020 molecularinformatics)",
    citation=(
        "Fang, Wang, Grater, Kapadnis, Black, Trapa, Sciabola, Prospective validation of machine learning "
        "algorithms for absorption, distribution, metabolism, and excretion prediction: an industrial "
        "perspective, "
        "J. Chem. Inf. Model. 63 (2023) 3263-3274, doi:10.1021/acs.jcim.3c00160"
    ),
    homepage="https://github.com/molecularinformatics/Computational-ADME",
    files=(
        SourceFile(
            path="biogen_adme/ADME_public_set_3521.csv",
            url=f"{_BIOGEN}/ADME_public_set_3521.csv",
            sha256="2cfabc2667740c224487876c33b23124159ef43294e0f9e4d926cb6276c95a3b",
            n_bytes=388_279,
        ),
    ),
    n_rows=11_318,
    n_compounds=3_521,
    n_targets=0,
)

CATALOGUE: Mapping[str, CatalogueEntry] = MappingProxyType(
    {entry.name: entry for entry in (KIBA_SAMPLE, KIBA, DAVIS, BIOGEN_ADME)}
)


def catalogue_entry(name: str) -> CatalogueEntry:
    """The catalogue's entry of that name.

    Raises:
        UnknownNameError: There is none; lists those there are.
    """
    if name not in CATALOGUE:
        raise unknown_name("data set of the catalogue", name, CATALOGUE)
    return CATALOGUE[name]


def unknown_name(what: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """An error that lists the names there are and suggests the nearest one."""
    names = sorted(known)
    by_lower = {one.lower(): one for one in names}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    hint = f" Did you mean {by_lower[near[0]]!r}?" if near else ""
    return UnknownNameError(f"there is no {what} named {name!r}.{hint} There are: {', '.join(names)}")
