"""Standard forms, their refusals, the reference structures, the cache and the pool."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from rdkit import Chem

import prepare_poison
from pharmonia.base.errors import CacheError, DiskFullError, EngineError, InputError, OptionError
from pharmonia.chem.ecfp import Ecfp
from pharmonia.chem.reference_structures import reference_structures
from pharmonia.chem.standardise_qsar import RDKIT_VERSION, Standardiser
from pharmonia.chem.standardise_qsar_settings import REFUSAL_TEXTS, Refusal, StandardSettings
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.run import prepare_pool, prepare_structures
from pharmonia.run.fetch import no_progress
from pharmonia.run.prepare_cache import StructureCache, structure_key
from pharmonia.run.prepare_pool import StructurePool, Work
from pharmonia.run.prepare_structures import StructurePipeline

STANDARD = Standardiser(StandardSettings())
GOLDEN = {"2026.09.1": "89aaf777355f763f5a66d6505923a72bdcc3336770ab6201c5be1f529cfca727"}
SOME = 150  # of the reference structures, for the golden digest


def standard(smiles: str) -> str:
    form = STANDARD.standardise(smiles)
    assert not isinstance(form, Refusal), form
    return form


@pytest.mark.parametrize(
    "same",
    [
        ("Oc1ccccn1", "O=c1cccc[nH]1"),
        ("NCC(=O)O", "[NH3+]CC([O-])=O"),
        ("CC(=O)CC(C)=O", "CC(O)=CC(C)=O"),
        ("Cc1c[nH]cn1", "Cc1cnc[nH]1"),
        ("NCc1ccccc1", "CC(=O)O.NCc1ccccc1", "Cl.NCc1ccccc1", "[NH3+]Cc1ccccc1"),
        ("OC(=O)c1ccccc1", "[Na+].[O-]C(=O)c1ccccc1", "[Na]OC(=O)c1ccccc1"),
        ("C[C@H](O)CC", "C[C@@H](O)CC", "CC(O)CC"),
        ("CO", "[13CH3]O", "[2H]C([2H])([2H])O"),
        ("C[N+](=O)[O-]", "CN(=O)=O"),
        ("OCC", "CCO", "C(O)C", "[H]OCC"),
    ],
)
def test_ways_to_write_one_compound_have_one_standard_form(same: tuple[str, ...]) -> None:
    assert len({standard(smiles) for smiles in same}) == 1


def test_stereo_stays_where_the_profile_says_so() -> None:
    keeps = Standardiser(StandardSettings(keep_stereo=True))
    assert keeps.standardise("C[C@H](O)CC") != keeps.standardise("C[C@@H](O)CC")


@pytest.mark.parametrize(
    ("smiles", "refusal"),
    [
        ("", Refusal.EMPTY),
        ("  ", Refusal.EMPTY),
        ("C" * 5_001, Refusal.TOO_LONG),
        ("CCO ethanol", Refusal.SPACE),
        ("CC\u041e", Refusal.UNREADABLE),  # a Cyrillic letter, and what follows it is no name
        ("CC\x07O", Refusal.UNREADABLE),
        ("CC(", Refusal.UNREADABLE),
        ("C(C)(C)(C)(C)C", Refusal.UNREADABLE),
        ("not a structure", Refusal.SPACE),
        ("*CC*", Refusal.POLYMER),
        ("[*:1]CCO", Refusal.POLYMER),
        ("C" * 100, Refusal.TOO_LARGE),
        ("CCCCCCCCCCCCCCCC.NCCCCCCCCCCCCCCCC", Refusal.MIXTURE),
        ("F[P-](F)(F)(F)(F)F", Refusal.FAILED),
    ],
)
def test_a_structure_without_a_standard_form_has_its_reason(smiles: str, refusal: Refusal) -> None:
    assert STANDARD.standardise(smiles) is refusal
    assert REFUSAL_TEXTS[refusal]


def test_one_atom_fewer_than_the_limit_is_taken() -> None:
    assert standard("C" * 99) == "C" * 99


@pytest.mark.parametrize("salt", ["C" * 16 + "." + "C" * 16, "CC(=O)O." + "N" + "C" * 30, "O." + "C" * 20])
def test_salts_solvates_and_repeats_are_no_mixtures(salt: str) -> None:
    assert standard(salt)


@pytest.mark.parametrize(
    ("drug", "counter_ion"),
    [
        ("CN1CCCN=C1C=Cc1cccs1", "O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O"),
        ("C1CNCCN1", "O=C(O)CC(O)(CC(=O)O)C(=O)O"),
        ("CN(C)C(=N)NC(=N)N", "O=C(O)c1ccc2ccccc2c1O"),
    ],
)
def test_of_a_salt_the_larger_organic_part_is_kept_as_the_docs_warn(drug: str, counter_ion: str) -> None:
    assert standard(f"{drug}.{counter_ion}") == standard(counter_ion)
    assert standard(f"{drug}.Cl") == standard(drug)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="max_atoms"):
        StandardSettings(max_atoms=0)


def test_the_reference_has_thousands_of_readable_structures() -> None:
    listed = reference_structures()
    assert len(listed) == len(set(listed)) > 2_500
    for smiles in listed[::7]:
        assert Chem.MolFromSmiles(smiles) is not None or smiles in ("c1cc[cH+]cc1", "c1cccc1")
    assert sum("+" in smiles and "-]" in smiles for smiles in listed) > 100  # zwitterions, salts, N-oxides


def pipeline(cache: StructureCache | None = None, profile: PrepareProfile | None = None) -> StructurePipeline:
    return StructurePipeline(profile or PrepareProfile(), cache, 1, no_progress)


def test_one_structure_that_comes_out_otherwise_changes_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for listed in (("Oc1ccccn1", "CCO", "CC("), ("O=c1cccc[nH]1", "CCO", "CC("), ("Oc1ccccn1", "CCN", "CC(")):
        monkeypatch.setattr(prepare_structures, "reference_structures", lambda listed=listed: listed)
        digests.append(pipeline().reference())
    assert digests[0] == digests[1] != digests[2]


def test_the_reference_comes_out_as_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    if RDKIT_VERSION not in GOLDEN:
        pytest.skip(f"no golden digest for RDKit {RDKIT_VERSION}: add what this test finds to GOLDEN")
    some = reference_structures()[: 3 * SOME : 3]
    monkeypatch.setattr(prepare_structures, "reference_structures", lambda: some)
    assert pipeline().reference() == GOLDEN[RDKIT_VERSION]


def test_a_compounds_features_do_not_depend_on_its_neighbours() -> None:
    smiles = ["Oc1ccccn1", "CN1CCCC1c1cccnc1", "[NH3+]CC([O-])=O", "CC(", "CCO"]
    together = pipeline().standardise(smiles)
    assert together == [pipeline().standardise([text])[0] for text in smiles]
    forms = [form for form in together if not isinstance(form, Refusal)]
    made = pipeline().featurise(forms)
    for row, form in enumerate(forms):
        alone = pipeline().featurise([form])
        assert alone.matrix.row(0).tolist() == made.matrix.row(row).tolist()
        assert alone.scaffolds[0] == made.scaffolds[row]


def test_columns_are_environments_folded_as_rdkit_folds_them() -> None:
    forms = [form for form in pipeline().standardise(reference_structures()[::60]) if not isinstance(form, Refusal)]
    made = pipeline().featurise(forms)
    ecfp = Ecfp(PrepareProfile().ecfp)
    for row, form in enumerate(forms):
        assert made.matrix.row(row).tolist() == ecfp.columns_of(form).tolist()
    empty = pipeline().featurise([])
    assert (empty.matrix.n_rows, empty.environments.n_rows) == (0, 0)


class _Counted(StructureCache):
    """A cache that counts what is written."""

    n_written = 0

    def keep(self, items: Sequence[tuple[bytes, bytes]]) -> None:  # type: ignore[override]
        self.n_written += len(items)
        super().keep(items)


def test_nothing_is_computed_twice(tmp_path: Path) -> None:
    cache = _Counted(tmp_path / "structures.sqlite")
    first = pipeline(cache).standardise(["CCO", "OCC", "CC("])
    assert pipeline(cache).standardise(["CC(", "CCO"]) == [first[2], first[0]]
    assert cache.n_written == 3
    other = PrepareProfile(standard=StandardSettings(max_atoms=2))
    assert pipeline(cache, other).standardise(["CCO"]) == [Refusal.TOO_LARGE]  # other settings, other keys


@pytest.mark.parametrize("other", ["'text'", "x'00'", "x'71b701443d43434e'", "7"])
def test_a_damaged_payload_is_told(tmp_path: Path, other: str) -> None:
    path = tmp_path / "structures.sqlite"
    cache = StructureCache(path)
    key = structure_key("stage", "CCO")
    cache.keep([(key, b"=CCO")])
    assert cache.find([key, structure_key("stage", "CCN")]) == {key: b"=CCO"}
    cache.close()
    with sqlite3.connect(path) as file:
        file.execute(f"UPDATE OR IGNORE structures SET payload = {other}")  # noqa: S608 - of the list above
    with pytest.raises(CacheError, match="remove it and run again"):
        StructureCache(path).find([key])


def test_a_file_that_is_no_cache_is_told(tmp_path: Path) -> None:
    path = tmp_path / "structures.sqlite"
    path.write_bytes(b"x" * 5_000)
    with pytest.raises(CacheError, match="damaged"):
        StructureCache(path)


def test_a_cache_that_another_process_holds_is_busy_and_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pharmonia.run.prepare_cache._WAIT_S", 0.01)
    path = tmp_path / "structures.sqlite"
    cache, key = StructureCache(path), structure_key("stage", "CCO")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match=r"cannot use .*: database is locked; wait for the process"):
            cache.keep([(key, b"=CCO")])
    cache.keep([(key, b"=CCO")])
    assert cache.find([key]) == {key: b"=CCO"}


def test_a_cache_without_room_is_full_and_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "structures.sqlite"
    cache = StructureCache(path)
    n_pages = cache._file.execute("PRAGMA page_count").fetchone()[0]
    cache._file.execute(f"PRAGMA max_page_count = {n_pages}")
    with pytest.raises(DiskFullError, match=r"no room .*: database or disk is full; make room there"):
        cache.keep([(structure_key("stage", str(number)), b"=" * 1000) for number in range(50)])
    assert cache.find([structure_key("stage", "0")]) == {}


def test_a_file_of_another_program_is_no_cache(tmp_path: Path) -> None:
    path = tmp_path / "structures.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE structures (name TEXT)")
    with pytest.raises(CacheError, match=r"damaged .*remove it and run again"):
        StructureCache(path).find([structure_key("stage", "CCO")])


def test_the_cache_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "structures.sqlite"
    StructureCache(path)
    assert path.stat().st_mode & 0o077 == 0


def gathered(pool: StructurePool, texts: list[str]) -> list[bytes]:
    parts = dict(pool.map(prepare_poison.shout, texts))
    pool.close()
    return [payload for start in sorted(parts) for payload in parts[start]]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_every_text_has_its_payload_whatever_the_number_of_processes(
    n_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_pool, "_WORTH_A_POOL", 2)
    monkeypatch.setattr(prepare_pool, "_CHUNK", 3)
    texts = [f"text {i}" for i in range(20)]
    assert gathered(StructurePool(n_workers, b"!"), texts) == [text.upper().encode() for text in texts]


def test_a_text_that_kills_its_process_costs_itself_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_pool, "_WORTH_A_POOL", 2)
    monkeypatch.setattr(prepare_pool, "_CHUNK", 2)
    texts = ["a", "b", "c", "poison", "e", "f", "g"]
    expected = [b"A", b"B", b"C", b"!", b"E", b"F", b"G"]
    assert gathered(StructurePool(2, b"!"), texts) == expected


def test_processes_that_end_on_anything_are_told_and_no_structure_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_pool, "_WORTH_A_POOL", 2)
    pool = StructurePool(2, b"!")
    with pytest.raises(EngineError, match="worker processes cannot start, or end on any structure"):
        list(pool.map(prepare_poison.die, ["CCO", "CCN"]))
    pool.close()


class _DyingPool(StructurePool):
    """A pool whose processes all end."""

    def map(self, work: Work, texts: Sequence[str]) -> Iterator[tuple[int, list[bytes]]]:
        yield 0, [self._crashed for _ in texts]


def test_a_structure_that_ended_its_process_is_tried_again_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = _Counted(tmp_path / "structures.sqlite")
    with monkeypatch.context() as patch:
        patch.setattr(prepare_structures, "StructurePool", _DyingPool)
        dying = pipeline(cache)
    assert dying.standardise(["CCO"]) == [Refusal.CRASHED]
    assert dying.featurise(["CCO"]).crashed == (0,)
    assert pipeline(cache).standardise(["CCO"]) == ["CCO"]
    assert pipeline(cache).featurise(["CCO"]).crashed == ()


def test_a_structure_that_ended_a_process_is_never_tried_in_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(StructurePool(1, b"!")) as pool:
        assert list(pool.alone(prepare_poison.shout, ["a", "poison"])) == [(0, [b"A", b"!"])]
    here: list[Sequence[str]] = []

    def in_this_one(_: StructurePool, __: Work, texts: Sequence[str]) -> Iterator[tuple[int, list[bytes]]]:
        here.append(texts)
        return iter(())

    monkeypatch.setattr(StructurePool, "map", in_this_one)
    cache = StructureCache(tmp_path / "structures.sqlite")
    made = pipeline(cache)
    cache.keep([(structure_key(made._standard_stage, "CCO"), b"!" + Refusal.CRASHED.value.encode())])
    assert made.standardise(["CCO"]) == ["CCO"]
    assert here == [[]]
