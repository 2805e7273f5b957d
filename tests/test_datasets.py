"""Fetching, loading and what happens when bytes are not what they should be."""

import io
import json
import os
import signal
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_cases import TINY, tiny_entry, write_mirror
from pharmonia.base.canonical import digest_file
from pharmonia.base.errors import CacheError, DataFileError, DigestError, FetchError, InputError, UnknownNameError
from pharmonia.data import catalogue
from pharmonia.data.columnar import encode
from pharmonia.data.deepdta import parse_deepdta
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.run import cache, datasets
from pharmonia.run.fetch import no_progress, obtain

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-1],
    "changed": lambda content: content[:10] + bytes([content[10] ^ 1]) + content[11:],
    "emptied": lambda content: b"",
}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of one test, and a catalogue that knows `tiny` besides."""
    entries = {**catalogue.CATALOGUE, "tiny": tiny_entry()}
    monkeypatch.setattr(catalogue, "CATALOGUE", entries)
    monkeypatch.setattr(cache, "CATALOGUE", entries)
    monkeypatch.setenv("PHARMONIA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny_mirror(tmp_path: Path) -> Path:
    return write_mirror(tmp_path / "mirror")


def assert_same(one: EncodedInteractions, other: EncodedInteractions) -> None:
    for name in ("features", "atom_type", "atom_offsets", "neighbours", "neighbour_offsets"):
        np.testing.assert_array_equal(getattr(one.graphs, name), getattr(other.graphs, name))
    np.testing.assert_array_equal(one.tokens, other.tokens)
    for name in ("compound", "target", "value"):
        np.testing.assert_array_equal(getattr(one.interactions.pairs, name), getattr(other.interactions.pairs, name))
    np.testing.assert_array_equal(one.interactions.fold, other.interactions.fold)
    for name in ("name", "measure", "compound_ids", "smiles", "target_ids", "sequences", "n_listed_compounds"):
        assert getattr(one.interactions, name) == getattr(other.interactions, name)


def test_the_embedded_sample_has_its_published_size_and_folds(kiba_sample: EncodedInteractions) -> None:
    interactions = kiba_sample.interactions
    assert (len(interactions.pairs), interactions.n_compounds, interactions.n_targets) == (5_000, 458, 189)
    assert (interactions.n_listed_compounds, interactions.n_listed_targets) == (458, 189)
    assert np.bincount(interactions.fold).tolist() == [1_000, 3_000, 1_000]
    assert np.unique(interactions.pair_keys()).size == 5_000
    assert interactions.measure == "KIBA score"


def test_the_embedded_files_are_the_recorded_ones_and_carry_their_licence() -> None:
    for record in cache.read_manifest("kiba-sample").files:
        assert digest_file(cache.EMBEDDED / record.name) == record.sha256
    assert "free of charge" in (cache.EMBEDDED / "kiba-sample.LICENSE.txt").read_text("utf-8")
    assert "e8a0ff0da411" in (cache.EMBEDDED / "kiba-sample.PROVENANCE.md").read_text("utf-8")


@pytest.mark.skipif("PHARMONIA_SAMPLE_WHEEL" not in os.environ, reason="PHARMONIA_SAMPLE_WHEEL names no wheel")
def test_the_script_makes_the_embedded_files_byte_for_byte(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "scripts" / "make_kiba_sample.py"
    subprocess.run([sys.executable, script, os.environ["PHARMONIA_SAMPLE_WHEEL"], tmp_path], check=True)
    for path in cache.EMBEDDED.iterdir():
        assert digest_file(tmp_path / path.name) == digest_file(path), path.name


def test_the_embedded_sample_loads_where_no_cache_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("PHARMONIA_CACHE", str(blocked / "cache"))
    assert datasets.load("kiba-sample").interactions.n_targets == 189
    with pytest.raises(InputError, match="PHARMONIA_CACHE"):
        datasets.fetch("kiba", mirror=tmp_path)


def test_what_is_fetched_is_what_is_loaded(shelf: Path, tiny_mirror: Path) -> None:
    told: list[tuple[str, int, int]] = []
    manifest = datasets.fetch("tiny", mirror=tiny_mirror, progress=lambda *progress: told.append(progress))
    loaded = datasets.load("tiny")
    parsed = parse_deepdta(tiny_entry(), lambda path: TINY[path].encode())
    assert_same(loaded, encode(parsed))
    assert (manifest.n_rows, manifest.n_compounds, manifest.n_targets) == (4, 2, 2)
    assert [path.name for path in shelf.iterdir()] == ["tiny"]
    assert {what for what, done, total in told if done == total} == {*TINY, "building molecular graphs"}


def test_fetching_again_gives_the_same_bytes(shelf: Path, tiny_mirror: Path) -> None:
    first = datasets.fetch("tiny", mirror=tiny_mirror)
    assert datasets.fetch("tiny", mirror=tiny_mirror, again=True) == first
    assert datasets.fetch("tiny") == first  # here already: no mirror, no network
    assert [path.name for path in shelf.iterdir()] == ["tiny"]


def test_the_mirror_may_be_named_in_the_environment(
    shelf: Path, tiny_mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMONIA_MIRROR", str(tiny_mirror))
    assert datasets.fetch("tiny").n_rows == 4
    assert shelf.is_dir()


def test_a_download_goes_through_the_same_check(
    shelf: Path, tiny_mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(request: Any, timeout: float) -> io.BytesIO:
        assert timeout > 0
        return io.BytesIO((tiny_mirror / request.full_url.removeprefix("https://example.org/")).read_bytes())

    monkeypatch.delenv("PHARMONIA_MIRROR", raising=False)
    monkeypatch.setattr("urllib.request.urlopen", serve)
    assert datasets.fetch("tiny").n_rows == 4
    (tiny_mirror / "tiny/test.txt").write_text("[3]")
    with pytest.raises(DigestError):
        datasets.fetch("tiny", again=True)
    assert datasets.load("tiny").interactions.n_targets == 2
    assert [path.name for path in shelf.iterdir()] == ["tiny"]


def test_a_failed_download_names_the_way_round(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: Any, timeout: float) -> io.BytesIO:
        raise urllib.error.URLError("no route to host")

    monkeypatch.delenv("PHARMONIA_MIRROR", raising=False)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(FetchError, match=r"example.org/tiny/matrix.txt: no route to host.*--mirror") as caught:
        datasets.fetch("tiny")
    assert caught.value.exit_code == 5
    assert list(shelf.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_file_that_finds_no_room_or_no_folder_is_told(shelf: Path, tiny_mirror: Path, tmp_path: Path) -> None:
    file = tiny_entry().files[0]
    (tmp_path / file.path.replace("/", "_")).symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"cannot write to the cache .*: No space.*PHARMONIA_CACHE"):
        obtain(file, tmp_path, tiny_mirror, no_progress)
    with pytest.raises(InputError, match=r"cannot write to the cache .*: No such file"):
        obtain(file, tmp_path / "absent", tiny_mirror, no_progress)


@pytest.mark.parametrize("damage", DAMAGE)
def test_other_bytes_than_expected_are_refused_and_leave_nothing(shelf: Path, tiny_mirror: Path, damage: str) -> None:
    path = tiny_mirror / "tiny/proteins.txt"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    expected, got = tiny_entry().files[2].sha256, digest_file(path)
    with pytest.raises(DigestError, match=f"tiny/proteins.txt: SHA-256 should be {expected}.*got {got}"):
        datasets.fetch("tiny", mirror=tiny_mirror)
    assert list(shelf.iterdir()) == []


def test_a_longer_file_is_refused(shelf: Path, tiny_mirror: Path) -> None:
    path = tiny_mirror / "tiny/proteins.txt"
    path.write_bytes(path.read_bytes() + b" " * 200_000)
    with pytest.raises(DigestError, match="or more"):
        datasets.fetch("tiny", mirror=tiny_mirror)
    assert list(shelf.iterdir()) == []


def test_a_mirror_without_the_file_is_named(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not hold tiny/matrix\.txt"):
        datasets.fetch("tiny", mirror=tmp_path)
    with pytest.raises(InputError, match="not a directory"):
        datasets.fetch("tiny", mirror=tmp_path / "absent")
    assert list(shelf.iterdir()) == []


@pytest.mark.parametrize("stage", ["tiny/test.txt", "building molecular graphs"])
def test_an_interrupted_fetch_leaves_what_was_there(shelf: Path, tiny_mirror: Path, stage: str) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if what == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datasets.fetch("tiny", mirror=tiny_mirror, progress=interrupt)
    assert list(shelf.iterdir()) == []
    datasets.fetch("tiny", mirror=tiny_mirror)
    with pytest.raises(KeyboardInterrupt):
        datasets.fetch("tiny", mirror=tiny_mirror, again=True, progress=interrupt)
    assert datasets.load("tiny").interactions.n_targets == 2
    assert [path.name for path in shelf.iterdir()] == ["tiny"]


KILLED = """
import os, signal
from pathlib import Path
from data_cases import tiny_entry
from pharmonia.data import catalogue
from pharmonia.data.columnar import encode
from pharmonia.data.deepdta import parse_deepdta
from pharmonia.run import cache, datasets
from pharmonia.run.fetch import no_progress, obtain
catalogue.CATALOGUE = cache.CATALOGUE = {"tiny": tiny_entry()}
def kill(what, done, total):
    if what == "building molecular graphs":
        os.kill(os.getpid(), signal.SIGKILL)
datasets.fetch("tiny", mirror=Path("mirror"), progress=kill)
"""


def test_a_killed_fetch_leaves_no_data_set_and_the_next_one_works(shelf: Path, tiny_mirror: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=tiny_mirror.parent, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (shelf / "tiny").exists()
    with pytest.raises(UnknownNameError, match="pharmonia data fetch tiny"):
        datasets.load("tiny")
    datasets.fetch("tiny", mirror=tiny_mirror)
    assert datasets.load("tiny").interactions.n_targets == 2


def test_what_a_killed_process_left_is_swept_after_a_day(shelf: Path, tiny_mirror: Path) -> None:
    old, young = shelf / ".staging-tiny-old", shelf / ".staging-tiny-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    datasets.fetch("tiny", mirror=tiny_mirror)
    assert sorted(path.name for path in shelf.iterdir()) == [young.name, "tiny"]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "part", ["interactions.parquet", "compounds.parquet", "targets.parquet", "encoded.safetensors"]
)
def test_a_damaged_file_is_found_and_the_remedy_named(shelf: Path, tiny_mirror: Path, part: str, damage: str) -> None:
    datasets.fetch("tiny", mirror=tiny_mirror)
    path = shelf / "tiny" / f"tiny.{part}"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(CacheError, match=rf"tiny\.{part}.*SHA-256.*`pharmonia data fetch tiny --again`") as caught:
        datasets.load("tiny")
    assert caught.value.exit_code == 4
    with pytest.raises(CacheError):
        datasets.fetch("tiny", mirror=tiny_mirror)
    datasets.fetch("tiny", mirror=tiny_mirror, again=True)
    assert datasets.load("tiny").interactions.n_targets == 2


def test_a_missing_file_is_found(shelf: Path, tiny_mirror: Path) -> None:
    datasets.fetch("tiny", mirror=tiny_mirror)
    (shelf / "tiny" / "tiny.targets.parquet").unlink()
    with pytest.raises(CacheError, match=r"tiny\.targets\.parquet.*is missing.*--again"):
        datasets.load("tiny")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_manifest_is_found_and_listed_as_such(shelf: Path, tiny_mirror: Path, damage: str) -> None:
    datasets.fetch("tiny", mirror=tiny_mirror)
    path = shelf / "tiny" / "tiny.manifest.json"
    path.write_bytes(DAMAGE[damage](path.read_bytes()[:-1]))
    with pytest.raises(CacheError, match=r"tiny\.manifest\.json is damaged.*--again"):
        datasets.load("tiny")
    states = {summary.name: summary.state for summary in datasets.available()}
    assert states["tiny"] is cache.State.DAMAGED


def test_a_manifest_of_another_version_is_refused(shelf: Path, tiny_mirror: Path) -> None:
    datasets.fetch("tiny", mirror=tiny_mirror)
    path = shelf / "tiny" / "tiny.manifest.json"
    body = json.loads(path.read_bytes())
    path.write_text(json.dumps({**body, "schema_version": 2}))
    with pytest.raises(CacheError, match=r"version 2 of the format.*reads version 1.*--again"):
        datasets.load("tiny")


def test_a_malformed_source_leaves_nothing(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {**TINY, "tiny/test.txt": "[9]"}
    monkeypatch.setattr(catalogue, "CATALOGUE", {"tiny": tiny_entry(wrong)})
    with pytest.raises(DataFileError, match=r"tiny/test\.txt"):
        datasets.fetch("tiny", mirror=write_mirror(tmp_path / "mirror", wrong))
    assert list(shelf.iterdir()) == []


@pytest.mark.parametrize("name", ["kibba", "../kiba", "", ".staging-x", "Tiny"])
def test_an_unknown_name_lists_what_exists(shelf: Path, name: str) -> None:
    with pytest.raises(UnknownNameError, match="There are: biogen-adme, davis, kiba, kiba-sample, tiny"):
        datasets.load(name)
    with pytest.raises(UnknownNameError, match="There are"):
        datasets.describe(name)
    assert not shelf.exists()


def test_what_is_not_fetched_names_the_command(shelf: Path) -> None:
    with pytest.raises(UnknownNameError, match="run `pharmonia data fetch kiba`"):
        datasets.load("kiba")
    with pytest.raises(UnknownNameError, match="run `pharmonia data fetch biogen-adme`"):
        datasets.load_assays("biogen-adme")
    assert not shelf.exists()


def test_listing_tells_where_each_stands(shelf: Path, tiny_mirror: Path) -> None:
    datasets.fetch("tiny", mirror=tiny_mirror)
    states = {summary.name: summary.state for summary in datasets.available()}
    absent = dict.fromkeys(("kiba", "davis", "biogen-adme"), cache.State.ABSENT)
    assert states == {"kiba-sample": cache.State.EMBEDDED, **absent, "tiny": cache.State.READY}
    known = datasets.describe("tiny")
    assert [file.sha256 for file in known.sources] == [file.sha256 for file in tiny_entry().files]
    assert known.folder == shelf / "tiny"
    assert datasets.describe("davis").files == ()


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PHARMONIA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/xdg")
    assert cache.cache_dir() == Path("/var/xdg/pharmonia")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache.cache_dir() == Path("/home/somebody/.cache/pharmonia")


@pytest.mark.mirror
def test_kiba_has_its_published_counts(kiba: EncodedInteractions) -> None:
    interactions = kiba.interactions
    assert len(interactions.pairs) == 118_254
    assert (interactions.n_listed_compounds, interactions.n_compounds, interactions.n_targets) == (2_111, 2_068, 229)
    assert np.unique(interactions.pair_keys()).size == 117_657
    assert np.bincount(interactions.fold).tolist() == [19_709] * 6
    assert kiba.graphs.n_atoms == 59_442
    np.testing.assert_allclose(interactions.pairs.value.mean(), 11.72, atol=0.01)


@pytest.mark.mirror
def test_davis_has_its_published_counts(shelf: Path, mirror: Path) -> None:
    datasets.fetch("davis", mirror=mirror)
    interactions = datasets.load("davis").interactions
    assert len(interactions.pairs) == 30_056
    assert (interactions.n_listed_targets, interactions.n_targets, interactions.n_compounds) == (442, 379, 68)
    assert np.bincount(interactions.fold).tolist() == [5_010, 5_010, 5_009, 5_009, 5_009, 5_009]
    assert interactions.measure == "pKd"
    assert interactions.pairs.value.min() == 5
    assert shelf.is_dir()


@pytest.mark.mirror
def test_biogen_adme_is_a_table_and_no_interactions(shelf: Path, mirror: Path) -> None:
    datasets.fetch("biogen-adme", mirror=mirror)
    table = datasets.load_assays("biogen-adme")
    assert table.values.shape == (3_521, 6)
    assert np.isfinite(table.values).sum(axis=0).tolist() == [3_087, 2_642, 2_173, 194, 168, 3_054]
    with pytest.raises(InputError, match=r"table of assay results.*kiba-sample.*compare adme"):
        datasets.load("biogen-adme")
    with pytest.raises(InputError, match="holds interactions"):
        datasets.load_assays("kiba-sample")
    assert shelf.is_dir()


@pytest.mark.mirror
def test_the_catalogue_states_the_true_counts(shelf: Path, mirror: Path) -> None:
    for name, entry in catalogue.CATALOGUE.items():
        if name != "tiny":
            made = datasets.fetch(name, mirror=mirror)
            assert (made.n_rows, made.n_compounds, made.n_targets) == (entry.n_rows, entry.n_compounds, entry.n_targets)
    assert sorted(path.name for path in shelf.iterdir()) == ["biogen-adme", "davis", "kiba"]
